//! A reverse proxy that holds several API keys for a provider and continues with the next key when
//! one is refused.
//!
//! ```text
//! GATEWAY_KEYS=sk-ant-one,sk-ant-two key-failover-gateway \
//!     --provider anthropic --upstream https://api.anthropic.com
//!
//! ANTHROPIC_BASE_URL=http://127.0.0.1:8080   # for the official SDKs
//! ```
//!
//! `--help` lists the flags and the environment variables. A request passes through these files:
//!
//! - `server.rs` accepts and serves connections (HTTP/1.1 and HTTP/2), and shuts down gracefully;
//! - `workers.rs` serves them on one runtime per core;
//! - `connections.rs` limits them, and ends those without a request;
//! - `gateway.rs` checks the request, finds its route, sets the target and calls the layer;
//! - `target.rs` normalizes the path, so that it cannot leave the upstream's base path;
//! - `routes.rs` contains the routes, `matcher.rs` says which requests belong to one, and `route.rs`
//!   contains its layer;
//! - `client_token.rs` finds and removes the client token, and `client_body.rs` removes it from trailers;
//! - `origin.rs` recognizes web pages of other origins, for listeners without a token;
//! - `request_choice.rs` reads the session and the scope of a request;
//! - `model_limit.rs` limits how long a client may take to name the model;
//! - `upstream_client/` sends each attempt;
//! - `outage.rs` logs when the upstream stops to respond;
//! - `byok.rs` counts requests with their own key;
//! - `headers.rs` removes headers that a proxy must not forward;
//! - `local_response.rs` builds the gateway's own error responses;
//! - `upgrade.rs` copies the bytes of WebSocket connections;
//! - `timing.rs` reports the attempts to the client, and `failovers.rs` to the operator.
//!
//! The other files:
//!
//! - `settings.rs` defines the settings, `flags.rs` the command line, and `config/` reads and checks the
//!   command line or the configuration file. The flags are a configuration with one route, so
//!   everything behind `config/` knows only routes;
//! - `keys.rs` reads lists of keys, `key_options.rs` the options of a key, `upstream.rs` the upstream's address, `cooldown.rs` and
//!   `duration.rs` times, `policy.rs` providers, `refusal.rs` what a 401 or 403 does to its key;
//! - `flag_error.rs` describes errors on the command line;
//! - `suggestion.rs` finds the name that a misspelled one is meant to be;
//! - `start.rs` starts everything, and `listener.rs` binds addresses;
//! - `logging.rs` logs to stderr, and `returns.rs` logs the end of cooldowns;
//! - `state_file.rs` saves the state of the keys across restarts, with the feature `serde`;
//! - `replicas.rs` shares it with other replicas over Redis, with the feature `redis`;
//! - `reload.rs` reloads the configuration and the keys when a file changes;
//! - `admin/` is the admin listener, where operators see, disable and reinstate keys.

// A binary has no public API.
#![allow(unreachable_pub)]

mod admin;
mod bad_input;
mod byok;
mod client_body;
mod client_token;
mod config;
mod connections;
mod cooldown;
mod duration;
mod environment;
mod failovers;
mod flag_error;
mod flags;
mod gateway;
mod headers;
mod key_options;
mod keys;
mod listener;
mod local_response;
mod logging;
mod matcher;
mod model_limit;
mod origin;
mod outage;
mod policy;
mod refusal;
mod reload;
mod replicas;
mod request_choice;
mod returns;
mod route;
mod routes;
mod server;
mod settings;
mod signals;
mod start;
#[cfg(feature = "serde")]
mod state_file;
mod suggestion;
mod target;
mod timing;
mod upgrade;
mod upstream;
mod upstream_client;
mod workers;

use std::process::ExitCode;

use mimalloc::MiMalloc;

use self::bad_input::BadInput;
use self::config::Source;
use self::flags::Flags;

/// A request takes some thirty allocations.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

// Requests are served by the workers.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(BadInput(line)) => {
            eprintln!("gateway: {line}");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<(), BadInput> {
    let flags = Flags::read()?;
    let only_check = flags.check;
    let source = Source::new(flags);
    let config = source.read()?;
    match only_check {
        true => start::check(&source, &config).await,
        false => start::start(source, config).await,
    }
}
