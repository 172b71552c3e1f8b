//! The gateway's configuration: flags and environment variables.

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
  GATEWAY_KEYS          The provider's keys, separated by commas, in the order in which they are tried
  GATEWAY_CLIENT_TOKEN  The token that clients must send, as a bearer token or in `x-api-key`, unless
                        they bring a key of their own. If unset, anyone who can connect can use the
                        keys, including web pages in a browser on this machine
  GATEWAY_ADMIN_TOKEN   The bearer token that disables and reinstates keys through --admin. If unset,
                        nobody can
  SSL_CERT_FILE         Certificates that are trusted instead of the system's

SDKs always send a key, and by default such a request is forwarded with the client's own key. To make
clients use the gateway's keys, set a client token and use it as the SDK's key, or use `--byok never`.

Keys file:
  Each line of --keys-file is a key, or a label, ` = ` and a key. Keys are tried in this order. Keys
  below a line `[group]` share a rate limit: if one of them is rate-limited, the others are not tried
  either. `[]` ends a group. `#` starts a comment. The file is reloaded when it changes, and on
  SIGHUP. Keys that stay keep their state. A file with an error changes nothing.

Admin endpoints:
  GET  /                       A status page
  GET  /keys                   The state of each key, as JSON
  GET  /failovers              Recent failovers, as JSON
  GET  /metrics                Metrics for Prometheus [builds with the feature metrics]
  GET  /healthz                200, or 503 if every key is permanently marked
  POST /keys/NAME/disable      Disables a key until it is reinstated
  POST /keys/NAME/reinstate    Returns a key to service
  NAME is a label or a position, starting at 0.

Times are written as 500ms, 30s, 10m, 2h or 1d.";

/// A reverse proxy that retries a request with the next API key when a provider refuses one.
#[derive(Debug, Parser)]
#[command(name = "key-failover-gateway", after_help = NOTES)]
struct Flags {
    /// The provider: its name, such as anthropic, openai or copilot; grpc for a gRPC service; bearer or
    /// header:NAME for any other API
    #[arg(long, value_parser = Policy::named)]
    provider: Policy,

    /// The upstream's URL: scheme, host, and optionally a path that is prepended to each request's path
    #[arg(long, value_name = "URL")]
    upstream: String,

    /// The address that clients connect to; port 0 picks a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: String,

    /// The address of the admin listener; a port alone means 127.0.0.1. On loopback, only requests to a
    /// local host name are accepted. On other addresses, anyone who can connect can read
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,

    /// A file with the provider's keys, reloaded when it changes; replaces GATEWAY_KEYS
    #[arg(long, value_name = "FILE")]
    keys_file: Option<PathBuf>,

    /// A file that keeps the state of the keys across restarts. It contains no key [builds with the
    /// feature serde]
    #[arg(long, value_name = "FILE")]
    state_file: Option<PathBuf>,

    /// Which requests bring a key of their own, and are forwarded with it: detect (any key), never, or
    /// prefix:P (a key that starts with P)
    #[arg(long, default_value = "detect", value_parser = byok)]
    byok: Byok,

    /// Add a `server-timing` header to responses, with the key's hint, the status and the duration of
    /// each attempt
    #[arg(long)]
    expose_failover: bool,

    #[command(flatten)]
    limits: Limits,

    #[command(flatten)]
    cooldowns: Cooldowns,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Maximum number of attempts per request [default: each usable key once]
    #[arg(long, value_name = "N")]
    pub max_attempts: Option<NonZeroUsize>,

    /// Largest request body that can be sent again, in bytes [default: 32 MiB]
    #[arg(long, value_name = "N")]
    pub max_replay_bytes: Option<usize>,

    /// Memory that all requests together use to be sent again, in bytes [default: 1 GiB]
    #[arg(long, value_name = "N")]
    pub replay_budget: Option<usize>,

    /// How long a request may wait for a key, if all keys are marked and one of them returns in time; 0
    /// does not wait
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = duration::parse)]
    pub wait_for_key: Duration,

    /// Maximum number of requests that wait at a time
    #[arg(long, value_name = "N", default_value_t = 1024)]
    max_waiters: usize,

    /// Stop after this many keys have refused the same request alike, and mark none of them permanently
    /// [default: never]
    #[arg(long, value_name = "N")]
    pub common_cause: Option<NonZeroUsize>,
}

/// How long keys stay marked.
#[derive(Debug, Args)]
#[command(next_help_heading = "Recovery")]
struct Cooldowns {
    /// Cooldown of a key if the provider names no wait
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration::parse)]
    default_cooldown: Duration,

    /// Longest cooldown, whatever the provider says
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = duration::parse)]
    max_cooldown: Duration,

    /// Double --default-cooldown with each refusal in a row, up to this time; 0 does not double it
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = duration::parse)]
    growing_cooldown: Duration,

    /// Probe a key with one request after this time, if it is permanently marked or cools down for
    /// longer; 0 does not probe
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration::parse)]
    revalidate_after: Duration,

    /// After a cooldown, use a key for one request at a time, for this long or until one succeeds; 0
    /// uses it for all requests at once
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

/// A configuration error, in one line.
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
            return bad(
                "--state-file: this build does not support it; build with --features serde",
            );
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
