//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::bad_input::BadInput;
use crate::flag_error;
use crate::settings::{RouteSettings, Settings};

const NOTES: &str = "\
Environment:
  GATEWAY_KEYS          The provider's keys, separated by commas, in the order in which they are tried.
                        With --config, routes name their own variables
  GATEWAY_CLIENT_TOKEN  The token that clients must send in place of a key, unless they bring a key of
                        their own. It is never forwarded. If unset, --listen must be on loopback, `Host`
                        must be a local name, and requests from web pages of other origins get a 403
                        unless they bring a key; --open removes these limits
  GATEWAY_ADMIN_TOKEN   The bearer token that clients of the admin listener need to disable and reinstate
                        keys. If unset, nobody can do so
  GATEWAY_REDIS_SECRET  The secret of all replicas, of at least 16 bytes, for --redis. The server never sees it
  SSL_CERT_FILE         A file of certificates to trust instead of those of the system

SDKs always send a key, and by default such a request is forwarded with the client's own key. To make
clients use the gateway's keys, set a client token and use it as the SDK's key, or use `--byok never`.

Keys file:
  Each line of --keys-file is a key, or a label, ` = ` and a key. Keys are tried in this order, unless
  --selection says otherwise. Keys below a line `[group]` share a rate limit: if one of them is
  rate-limited, the others are not tried either. `[]` ends a group. `#` starts a comment. Options can
  follow a key: `weight=N` (1 to 1000), `tier=N` (2 is used only if no key of tier 1 is usable and
  unsuspected, and so on), `max-in-flight=N` (requests at a time) and `domain=NAME` (keys that share a
  prompt cache). The file is reloaded when it changes, and on SIGHUP. Keys that stay keep their state.
  Keys and labels must be unique. On a reload, a file with an error changes nothing.

Configuration file:
  --config takes a TOML file. Its fields are the flags with underscores, and its routes are tables:
    listen = \"127.0.0.1:8080\"
    [routes.anthropic]
    prefix = \"/anthropic\"           # the upstream does not receive it; keep_prefix = true keeps it
    provider = \"anthropic\"
    upstream = \"https://api.anthropic.com\"
    keys_env = \"ANTHROPIC_KEYS\"     # or keys_file = \"FILE\", or keys = [\"KEY\", \"LABEL = KEY\"]
  A route may have a host and a prefix. Routes with a host come first, and then those with longer
  prefixes. The file is reloaded when it changes, and on SIGHUP. A file with an error changes nothing.

Admin endpoints:
  GET  /                       A status page
  GET  /keys                   The state of each key, as JSON
  GET  /failovers              Recent failovers, as JSON
  GET  /metrics                Metrics for Prometheus [builds with the feature metrics]
  GET  /healthz                200, or 503 if every key is permanently marked
  GET  /about                  The routes and the version, as JSON; 200 as long as the gateway runs
  POST /keys/NAME/disable      Disables a key until it is reinstated
  POST /keys/NAME/reinstate    Returns a key to service
  NAME is a label or a position, starting at 0. With ?pool=ROUTE, /keys, /healthz and the changes
  concern the keys of one route. Changes require it if there are several routes.

Times are written as 500ms, 30s, 10m, 2h or 1d.

Exit codes: 0 after SIGINT, SIGTERM or a successful --check, and 2 if the gateway cannot start.";

/// A reverse proxy that sends a request again with the next API key when a provider refuses one.
#[derive(Clone, Debug, Parser)]
#[command(name = "key-failover-gateway", version, after_help = NOTES)]
pub struct Flags {
    /// A TOML file with all settings and any number of routes, reloaded when it changes; instead of the
    /// other flags
    #[arg(long, value_name = "FILE", conflicts_with_all = ["Settings", "RouteSettings"])]
    pub config: Option<PathBuf>,

    /// Check the settings and the keys, and exit without serving requests
    #[arg(long)]
    pub check: bool,

    #[command(flatten)]
    pub route: RouteSettings,

    #[command(flatten)]
    pub settings: Settings,
}

impl Flags {
    /// Reads the command line. Exits if it asks for the help or the version.
    pub fn read() -> Result<Self, BadInput> {
        Self::try_parse().map_err(|error| {
            if !error.use_stderr() {
                error.exit();
            }
            flag_error::describe(&error)
        })
    }
}
