//! What the gateway is told: flags and environment.

use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser};
use secrecy::{ExposeSecret, SecretString};
use tower_key_failover::KeyPool;
use tower_key_failover::policy::Byok;
use tower_key_failover::pool::KeyPoolBuilder;

use crate::policy::Policy;
use crate::upstream::Upstream;
use crate::{duration, keys};

const NOTES: &str = "\
Environment:
  GATEWAY_KEYS          The provider's keys, separated by commas, the primary first
  GATEWAY_CLIENT_TOKEN  What clients must present, as a bearer token or as `x-api-key`, unless they
                        bring a key of their own. When unset, nothing is checked: the keys are used
                        by whoever reaches the gateway, a page in a browser on this machine included
  GATEWAY_ADMIN_TOKEN   What must be presented to --admin, as a bearer token, by whoever disables or
                        reinstates a key. When unset, nobody can
  SSL_CERT_FILE         The certificates that upstreams are trusted by, instead of the system's

SDKs always send some key, and by default a request that brings one is sent on with it. So that
clients use the gateway's keys, set a token and have them send that, or use `--byok never`.

The file of --keys-file has a line for each key, the primary first: the key by itself, or a label,
` = ` and the key. The keys under a `[group]` share a limit, as those of one organisation do: when
one is rate-limited, none of them is tried. `[]` ends the group. `#` begins a comment. The file is
read again when it changes, and on SIGHUP; keys that stay keep their state. One that is not right
changes nothing.

Admin answers: GET / (a page for people), /keys, /failovers and /metrics; GET /healthz, with 503 when
every key is out for good; POST /keys/NAME/disable and /keys/NAME/reinstate, where NAME is a label or
a position, from 0. Times are written 500ms, 30s, 10m, 2h or 1d.";

/// A reverse proxy that goes on with the next API key when a provider refuses one.
#[derive(Debug, Parser)]
#[command(name = "gateway", after_help = NOTES)]
struct Flags {
    /// anthropic, openai, copilot or another provider's name; grpc for a gRPC service; for what has
    /// no name, bearer or header:NAME
    #[arg(long, value_parser = Policy::named)]
    provider: Policy,

    /// Where requests go: scheme, host and optionally a path that is put before theirs
    #[arg(long, value_name = "URL")]
    upstream: String,

    /// Where clients connect; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: String,

    /// Where an operator connects; a port alone is that of 127.0.0.1. On loopback, only a local name
    /// is answered to; elsewhere, whoever can connect can look
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,

    /// A file with the provider's keys, read again when it changes; instead of GATEWAY_KEYS
    #[arg(long, value_name = "FILE")]
    keys_file: Option<PathBuf>,

    /// Where to keep what is out over restarts, without a key [in builds with the feature serde]
    #[arg(long, value_name = "FILE")]
    state_file: Option<PathBuf>,

    /// Which requests bring a key of their own and are sent on with it: detect, never, or
    /// prefix:P for those whose key begins with P
    #[arg(long, default_value = "detect", value_parser = byok)]
    byok: Byok,

    /// Tell clients of each attempt in a `server-timing` header: the key's ends, the status and the
    /// time
    #[arg(long)]
    expose_failover: bool,

    #[command(flatten)]
    limits: Limits,

    #[command(flatten)]
    cooldowns: Cooldowns,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "How far a request goes")]
pub struct Limits {
    /// How many keys one request tries at most [default: every usable one]
    #[arg(long, value_name = "N")]
    pub max_attempts: Option<NonZeroUsize>,

    /// The largest request body that can be sent again, in bytes [default: 32 MiB]
    #[arg(long, value_name = "N")]
    pub max_replay_bytes: Option<usize>,

    /// What all requests together hold for being sent again, in bytes [default: 1 GiB]
    #[arg(long, value_name = "N")]
    pub replay_budget: Option<usize>,

    /// How long a request waits for a key at most, when every key is out and one returns in time; 0
    /// does not wait
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = duration::parse)]
    pub wait_for_key: Duration,

    /// How many requests wait at most
    #[arg(long, value_name = "N", default_value_t = 1024)]
    max_waiters: usize,

    /// After so many keys that were refused for good alike, one after the other, it is taken for the
    /// request's fault: no other is tried, and none of them is out for good [default: never]
    #[arg(long, value_name = "N")]
    pub common_cause: Option<NonZeroUsize>,
}

/// How long keys are out.
#[derive(Debug, Args)]
#[command(next_help_heading = "How long keys are out")]
struct Cooldowns {
    /// When the provider names no wait
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration::parse)]
    default_cooldown: Duration,

    /// At most, whatever the provider says
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = duration::parse)]
    max_cooldown: Duration,

    /// Double --default-cooldown each time in a row that it is used, up to this; 0 leaves it as it is
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = duration::parse)]
    growing_cooldown: Duration,

    /// Try a key that is out for good, or for longer than this, with one request after this time; 0
    /// leaves it out
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration::parse)]
    revalidate_after: Duration,

    /// Offer a key that returns to one request at a time, for this long or until one has succeeded; 0
    /// offers it to all
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = duration::parse)]
    ramp: Duration,
}

pub struct Config {
    pub policy: Policy,
    pub upstream: Upstream,
    pub listen: String,
    pub admin: Option<String>,
    /// `None` for a provider whose clients always bring their own key.
    pub pool: Option<Arc<KeyPool>>,
    /// The file that the keys were read from, and its text.
    pub keys_file: Option<(PathBuf, SecretString)>,
    #[cfg(feature = "serde")]
    pub state_file: Option<PathBuf>,
    pub client_token: Option<SecretString>,
    pub admin_token: Option<SecretString>,
    pub expose_failover: bool,
    pub limits: Limits,
}

/// What is wrong, in one line.
pub struct BadInput(pub String);

impl Config {
    pub fn read() -> Result<Self, BadInput> {
        let flags = Flags::try_parse().map_err(|error| {
            if !error.use_stderr() {
                error.exit(); // --help was asked for
            }
            one_line(&error)
        })?;
        let client_token = token("GATEWAY_CLIENT_TOKEN")?;
        let admin_token = token("GATEWAY_ADMIN_TOKEN")?;
        if let (Some(client), Some(admin)) = (&client_token, &admin_token) {
            if client.expose_secret() == admin.expose_secret() {
                return bad("GATEWAY_ADMIN_TOKEN is the clients' token: give it another value");
            }
        }
        let has_keys = flags.provider.name() != "copilot";
        if flags.keys_file.is_some() && !has_keys {
            return bad("--keys-file: copilot's clients always bring their own key");
        }
        if flags.state_file.is_some() && !has_keys {
            return bad("--state-file: copilot's clients always bring their own key");
        }
        if flags.state_file.is_some() && !cfg!(feature = "serde") {
            return bad("--state-file: this build cannot: build it with --features serde");
        }
        let keys_file = match &flags.keys_file {
            Some(file) => Some((file.clone(), keys::read(file)?)),
            None => None,
        };
        let pool = match has_keys {
            true => Some(Arc::new(flags.pool(keys_file.as_ref())?)),
            false => None,
        };
        Ok(Self {
            policy: flags.provider.byok(flags.byok),
            upstream: Upstream::parse(&flags.upstream)?,
            listen: flags.listen,
            admin: flags.admin.map(or_port),
            pool,
            keys_file,
            #[cfg(feature = "serde")]
            state_file: flags.state_file,
            client_token,
            admin_token,
            expose_failover: flags.expose_failover,
            limits: flags.limits,
        })
    }
}

impl Flags {
    /// The pool, from the file or else from the environment. No message shows a key.
    fn pool(&self, file: Option<&(PathBuf, SecretString)>) -> Result<KeyPool, BadInput> {
        let (source, keys) = match file {
            Some((file, text)) => (keys::source(file), keys::parse(text)),
            None => ("GATEWAY_KEYS".to_owned(), Ok(keys::from_environment()?)),
        };
        let from_there = |what: String| BadInput(format!("{source}: {what}"));
        let keys = keys.map_err(|BadInput(line)| from_there(line))?;
        let pool = self.cooldowns.apply(KeyPool::builder());
        let pool = pool.name(self.provider.name());
        let pool = pool.max_waiters(self.limits.max_waiters).track_usage(true);
        let pool = keys.into_iter().fold(pool, |pool, key| key.add_to(pool));
        pool.build().map_err(|error| from_there(error.to_string()))
    }
}

impl Cooldowns {
    fn apply(&self, mut pool: KeyPoolBuilder) -> KeyPoolBuilder {
        pool = pool
            .default_cooldown(self.default_cooldown)
            .max_cooldown(self.max_cooldown);
        if let Some(bound) = unless_zero(self.growing_cooldown) {
            pool = pool.exponential_cooldown(self.default_cooldown..=bound);
        }
        if let Some(time) = unless_zero(self.revalidate_after) {
            pool = pool.probe_after(time);
        }
        if let Some(time) = unless_zero(self.ramp) {
            pool = pool.slow_start(time);
        }
        pool
    }
}

/// The time, unless it is 0, by which people say that something is off.
pub fn unless_zero(time: Duration) -> Option<Duration> {
    (!time.is_zero()).then_some(time)
}

/// An address. Nobody but this machine is let in without being named.
fn or_port(address: String) -> String {
    match address.parse::<u16>() {
        Ok(port) => format!("127.0.0.1:{port}"),
        Err(_) => address,
    }
}

/// A token of the environment, which may be unset, but not empty.
fn token(name: &str) -> Result<Option<SecretString>, BadInput> {
    let token = environment(name)?;
    match &token {
        Some(token) if token.expose_secret().is_empty() => {
            bad(format!("{name} is empty: unset it, or give it a value"))
        }
        _ => Ok(token),
    }
}

fn byok(text: &str) -> Result<Byok, String> {
    match (text, text.strip_prefix("prefix:")) {
        ("detect", _) => Ok(Byok::Detect),
        ("never", _) => Ok(Byok::Never),
        (_, Some(prefix)) if !prefix.is_empty() => Ok(Byok::prefixes([prefix])),
        _ => Err("expected detect, never or prefix:P".to_owned()),
    }
}

pub fn environment(name: &str) -> Result<Option<SecretString>, BadInput> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value.into())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => bad(format!("{name} is not valid UTF-8")),
    }
}

pub fn bad<T>(line: impl Into<String>) -> Result<T, BadInput> {
    Err(BadInput(line.into()))
}

/// The first paragraph of what clap says: the rest is advice and usage.
fn one_line(error: &clap::Error) -> BadInput {
    let text = error.to_string();
    let text = text.split("\n\n").next().unwrap_or(&text);
    let words: Vec<&str> = text
        .trim_start_matches("error: ")
        .split_whitespace()
        .collect();
    BadInput(words.join(" "))
}

impl From<io::Error> for BadInput {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}
