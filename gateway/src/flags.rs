//! The command line.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser};
use tower_key_failover::policy::Byok;

use crate::cooldown::Cooldown;
use crate::duration;
use crate::logging::Format;
use crate::policy::Policy;

const NOTES: &str = "\
Environment:
  GATEWAY_KEYS          The provider's keys, separated by commas, in the order in which they are tried
  GATEWAY_CLIENT_TOKEN  The token that clients must send in place of a key, unless they bring a key of
                        their own. It is never forwarded. If unset, --listen must be on loopback, `Host`
                        must be a local name, and requests from web pages of other origins get a 403
                        unless they bring a key; --open removes these limits
  GATEWAY_ADMIN_TOKEN   The bearer token that clients of the admin listener need to disable and reinstate
                        keys. If unset, nobody can do so
  SSL_CERT_FILE         A file of certificates to trust instead of those of the system

SDKs always send a key, and by default such a request is forwarded with the client's own key. To make
clients use the gateway's keys, set a client token and use it as the SDK's key, or use `--byok never`.

Keys file:
  Each line of --keys-file is a key, or a label, ` = ` and a key. Keys are tried in this order. Keys
  below a line `[group]` share a rate limit: if one of them is rate-limited, the others are not tried
  either. `[]` ends a group. `#` starts a comment. The file is reloaded when it changes, and on
  SIGHUP. Keys that stay keep their state. Keys and labels must be unique. On a reload, a file
  with an error changes nothing.

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
#[command(name = "key-failover-gateway", version, after_help = NOTES)]
pub struct Flags {
    /// The provider: anthropic, azure_openai, bedrock, cohere, copilot, deepseek, gemini, groq, mistral,
    /// openai, openrouter, perplexity, together, vertex or xai. For any other API: bearer, or header:NAME
    /// to send the key in that header. For a gRPC service: grpc [builds with the feature grpc]
    #[arg(long, value_parser = Policy::named)]
    pub provider: Policy,

    /// The upstream's URL: scheme, host, and optionally a path that is prepended to each request's path
    #[arg(long, value_name = "URL")]
    pub upstream: String,

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

    /// A file with the provider's keys, reloaded when it changes; instead of GATEWAY_KEYS
    #[arg(long, value_name = "FILE")]
    pub keys_file: Option<PathBuf>,

    /// A file that keeps the state of the keys across restarts. It contains no key [builds with the
    /// feature serde]
    #[arg(long, value_name = "FILE")]
    pub state_file: Option<PathBuf>,

    /// Which requests bring a key of their own, and are forwarded with it: detect (those with any key),
    /// never (none), or prefix:P (those with a key that starts with P)
    #[arg(long, default_value = "detect", value_parser = byok)]
    pub byok: Byok,

    /// Add a `server-timing` header to responses, with the key's hint, the status and the duration of
    /// each attempt
    #[arg(long)]
    pub expose_failover: bool,

    /// The format of the log on stderr. It shows what happens to keys, reloads and outages. It contains
    /// no key
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub log: Format,

    #[command(flatten)]
    pub limits: Limits,

    #[command(flatten)]
    pub cooldowns: Cooldowns,
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

    /// Largest total size of the request bodies that are kept to be sent again, in bytes [default: 1 GiB]
    #[arg(long, value_name = "N")]
    pub replay_budget: Option<usize>,

    /// Maximum number of connections of clients. If it is reached, a new connection replaces the one that
    /// has been without a request for the longest time, or waits if all have a request in flight
    #[arg(long, value_name = "N", default_value = "4096")]
    pub max_connections: NonZeroUsize,

    /// How long a connection may be open without a request, at its start and between requests; 0 does
    /// not limit it
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    pub idle_timeout: Duration,

    /// How long each attempt may take, including the upload, until the head of its response arrives; 0
    /// does not limit it
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration::parse)]
    pub upstream_timeout: Duration,

    /// How long a request may wait for a key, if all keys are marked and one of them returns in time; 0
    /// does not wait
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = duration::parse)]
    pub wait_for_key: Duration,

    /// Maximum number of requests that wait at a time
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub max_waiters: usize,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Recovery")]
pub struct Cooldowns {
    /// How long a key cools down after a refusal, such as a 429, if the provider names no wait. A range
    /// doubles it with each refusal, up to its end; a success resets it [default: 1s..60s]
    #[arg(long, value_name = "TIME|RANGE")]
    pub cooldown: Option<Cooldown>,

    /// Longest cooldown, whatever the provider says
    #[arg(long, value_name = "TIME", default_value = "1d", value_parser = duration::parse)]
    pub max_cooldown: Duration,

    /// Probe a permanently marked key (one that does not return after a cooldown) with one request after
    /// this time. After each refused probe, double the time, up to 1h. If you set this flag, keys that
    /// cool down for longer are probed as well. 0 does not probe [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub probe_after: Option<Duration>,
}

fn byok(text: &str) -> Result<Byok, String> {
    match (text, text.strip_prefix("prefix:")) {
        ("detect", _) => Ok(Byok::Detect),
        ("never", _) => Ok(Byok::Never),
        (_, Some(prefix)) if !prefix.is_empty() => Ok(Byok::prefixes([prefix])),
        _ => Err("expected detect, never or prefix:P".to_owned()),
    }
}
