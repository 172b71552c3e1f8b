//! The settings of the gateway.
//!
//! Each setting is a flag of the command line and a field of the configuration file, with the same
//! value and the same default. The flags are a configuration with a single route.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser};
use secrecy::{ExposeSecret, SecretString};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::cooldown::Cooldown;
use crate::duration::Time;
use crate::flags::Flags;
use crate::logging::Format;
use crate::policy::{ByokMode, Policy};
use crate::refusal::Refusal;
use crate::request_choice::{Affinity, ScopeSource, Strategy};

// The sections of the help.
const LIMITS: &str = "Limits";
const RECOVERY: &str = "Recovery";
const SELECTION: &str = "Selection";

/// The settings of the whole gateway.
#[derive(Args, Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The address that clients connect to; port 0 picks a free port
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: String,

    /// Let anyone who can connect use the keys without a client token, including web pages in a browser.
    /// Without a token and this flag, --listen must be on loopback, and only local clients are served
    #[arg(long)]
    pub open: bool,

    /// The address of the admin listener; a port alone means 127.0.0.1. On loopback, only requests to a
    /// local host name are accepted. On other addresses, anyone who can connect can read
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<String>,

    /// A file that keeps the state of the keys across restarts. It contains no key [builds with the
    /// feature serde]
    #[arg(long, value_name = "FILE")]
    pub state_file: Option<PathBuf>,

    /// The Redis or Valkey server over which all replicas of the gateway share cooldowns, and what
    /// operators do: redis://USER:PASSWORD@HOST:PORT, or rediss:// with TLS. Requires
    /// GATEWAY_REDIS_SECRET [builds with the feature redis]
    #[arg(long, value_name = "URL")]
    #[serde(deserialize_with = "secret")]
    pub redis: Option<SecretString>,

    /// Add a `server-timing` header to responses, with the key's hint, the status and the duration of
    /// each attempt
    #[arg(long)]
    pub expose_failover: bool,

    /// The format of the log on stderr. It shows what happens to keys, reloads and outages. It contains
    /// no key
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub log: Format,

    /// Largest total size of the request bodies that are kept to be sent again, in bytes [default: 1 GiB]
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    pub replay_budget: Option<usize>,

    /// Maximum number of connections of clients. If it is reached, a new connection replaces the one that
    /// has been without a request for the longest time, or waits if all have a request in flight
    #[arg(long, value_name = "N", default_value = "4096", help_heading = LIMITS)]
    pub max_connections: NonZeroUsize,

    /// How long a connection may be open without a request, at its start and between requests, and how long
    /// a request may take to name its model in the body; 0 does not limit it
    #[arg(long, value_name = "TIME", default_value = "30s", help_heading = LIMITS)]
    pub idle_timeout: Time,

    /// The routes by name. The flags of a route describe a single one.
    #[arg(skip)]
    pub routes: BTreeMap<String, RouteSettings>,
}

/// The settings of a route.
#[derive(Args, Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouteSettings {
    /// The provider: anthropic, azure_openai, bedrock, cohere, copilot, deepseek, gemini, groq, mistral,
    /// openai, openrouter, perplexity, together, vertex or xai. For any other API: bearer, or header:NAME
    /// to send the key in that header. For a gRPC service: grpc [builds with the feature grpc]
    #[arg(long)]
    pub provider: Option<Policy>,

    /// The upstream's URL: scheme, host, and optionally a path that is prepended to each request's path
    #[arg(long, value_name = "URL")]
    pub upstream: Option<String>,

    /// The host of the requests.
    #[arg(skip)]
    pub host: Option<String>,

    /// The first segments of the path of the requests.
    #[arg(skip)]
    pub prefix: Option<String>,

    /// Whether the upstream receives the path with the prefix.
    #[arg(skip)]
    pub keep_prefix: bool,

    /// A file with the provider's keys, reloaded when it changes; instead of GATEWAY_KEYS
    #[arg(long, value_name = "FILE")]
    pub keys_file: Option<PathBuf>,

    /// The variable with the keys.
    #[arg(skip)]
    pub keys_env: Option<String>,

    /// The lines of a keys file.
    #[arg(skip)]
    #[serde(deserialize_with = "secrets")]
    pub keys: Option<Vec<SecretString>>,

    /// Which requests bring a key of their own, and are forwarded with it: detect (those with any key),
    /// never (none), or prefix:P (those with a key that starts with P)
    #[arg(long, default_value = "detect")]
    pub byok: ByokMode,

    /// How a request chooses among the usable keys: in-order (the first one), round-robin, weighted (in turn
    /// by weight) or least-in-flight (the one with the fewest requests)
    #[arg(long, value_name = "STRATEGY", default_value = "in-order", help_heading = SELECTION)]
    pub selection: Strategy,

    /// Keep the requests with the same value of this header on the same key, for the prompt cache, as long as
    /// that key is usable [default: none]
    #[arg(long, value_name = "header:NAME", help_heading = SELECTION)]
    pub affinity: Option<Affinity>,

    /// Which requests a rate limit applies to: auto (those for the same model, which is taken from the path,
    /// or else from the JSON body), header:NAME (those with the same value of this header), or off (all)
    #[arg(long, value_name = "SCOPE", default_value = "auto", help_heading = SELECTION)]
    pub scope: ScopeSource,

    /// Maximum number of attempts per request [default: the number of keys, or twice as many with
    /// --wait-for-key]
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    pub max_attempts: Option<NonZeroUsize>,

    /// Largest request body that can be sent again, in bytes [default: 32 MiB]
    #[arg(long, value_name = "N", help_heading = LIMITS)]
    pub max_replay_bytes: Option<usize>,

    /// How long each attempt may take, including the upload, until the head of its response arrives; 0
    /// does not limit it
    #[arg(long, value_name = "TIME", default_value = "10m", help_heading = LIMITS)]
    pub upstream_timeout: Time,

    /// How long a request may wait for a key, if no key is usable and one of them returns in time; 0
    /// does not wait
    #[arg(long, value_name = "TIME", default_value = "0", help_heading = LIMITS)]
    pub wait_for_key: Time,

    /// Maximum number of requests that wait at a time
    #[arg(long, value_name = "N", default_value_t = 1024, help_heading = LIMITS)]
    pub max_waiters: usize,

    /// How long a key cools down after a refusal, such as a 429, if the provider names no wait. A range
    /// doubles it with each refusal, up to its end; a success resets it
    #[arg(long, value_name = "TIME|RANGE", default_value = "1s..60s", help_heading = RECOVERY)]
    pub cooldown: Cooldown,

    /// Longest cooldown, whatever the provider says
    #[arg(long, value_name = "TIME", default_value = "1d", help_heading = RECOVERY)]
    pub max_cooldown: Time,

    /// Probe a permanently marked key (one that does not return after a cooldown) with one request after
    /// this time. After each refused probe, double the time, up to 1h. If you set this flag, keys that
    /// cool down for longer are probed as well. 0 does not probe [default: 60s]
    #[arg(long, value_name = "TIME", help_heading = RECOVERY)]
    pub probe_after: Option<Time>,

    /// What a 401 does to its key, if it says that the key is dead or gives no reason: permanent (mark it),
    /// suspect (use it last), temporary or a time (cool down), keep (nothing; the next key is tried) or
    /// forward (nothing; the client receives the 401) [default: permanent]
    #[arg(long, value_name = "WHAT", help_heading = RECOVERY)]
    pub on_unauthorized: Option<Refusal>,

    /// The same for a 403 that says that the key is dead or gives no reason [default: permanent if the key
    /// is dead, suspect otherwise]
    #[arg(long, value_name = "WHAT", help_heading = RECOVERY)]
    pub on_forbidden: Option<Refusal>,

    /// How long a key cools down after its credit or quota is used up, if the response names no reset
    /// [default: 1h]
    #[arg(long, value_name = "TIME", help_heading = RECOVERY)]
    pub quota_cooldown: Option<Time>,
}

impl Settings {
    /// The fields that differ. Only a restart changes them.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let Self {
            listen,
            open,
            admin,
            state_file,
            redis,
            expose_failover,
            log,
            replay_budget,
            max_connections,
            idle_timeout,
            routes: _,
        } = self;
        let fields = [
            ("listen", *listen != other.listen),
            ("open", *open != other.open),
            ("admin", *admin != other.admin),
            ("state_file", *state_file != other.state_file),
            ("redis", exposed(redis) != exposed(&other.redis)),
            ("expose_failover", *expose_failover != other.expose_failover),
            ("log", *log != other.log),
            ("replay_budget", *replay_budget != other.replay_budget),
            ("max_connections", *max_connections != other.max_connections),
            ("idle_timeout", *idle_timeout != other.idle_timeout),
        ];
        let different = fields.into_iter().filter(|(_, differs)| *differs);
        different.map(|(field, _)| field).collect()
    }
}

impl Default for Settings {
    /// The defaults of the flags.
    fn default() -> Self {
        Flags::parse_from([""]).settings
    }
}

impl Default for RouteSettings {
    /// The defaults of the flags.
    fn default() -> Self {
        Flags::parse_from([""]).route
    }
}

/// A value in the configuration file is written like that of the flag.
macro_rules! deserialize_as_in_flags {
    ($($value:ty),*) => {$(
        impl<'de> Deserialize<'de> for $value {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

deserialize_as_in_flags!(
    Affinity,
    ByokMode,
    Cooldown,
    Policy,
    Refusal,
    ScopeSource,
    Strategy,
    Time
);

fn exposed(secret: &Option<SecretString>) -> Option<&str> {
    secret.as_ref().map(ExposeSecret::expose_secret)
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    String::deserialize(deserializer).map(|text| Some(text.into()))
}

fn secrets<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<SecretString>>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    Ok(Some(texts.into_iter().map(SecretString::from).collect()))
}
