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
//! - `server.rs` accepts connections (HTTP/1.1 and HTTP/2) and shuts down gracefully;
//! - `connections.rs` limits them, and ends those without a request;
//! - `proxy.rs` checks the request, sets the target and calls the layer;
//! - `target.rs` normalizes the path, so that it cannot leave the upstream's base path;
//! - `client_token.rs` finds and removes the client token;
//! - `origin.rs` recognizes web pages of other origins, for listeners without a token;
//! - `upstream_client.rs` sends each attempt;
//! - `byok.rs` counts requests with their own key;
//! - `headers.rs` removes headers that a proxy must not forward;
//! - `local_response.rs` builds the gateway's own error responses;
//! - `upgrade.rs` copies the bytes of WebSocket connections;
//! - `timing.rs` reports the attempts to the client, and `failovers.rs` to the operator.
//!
//! The other files:
//!
//! - `flags.rs` defines the command line, and `config.rs` reads it and the environment;
//! - `keys.rs` reads the list of keys, and `upstream.rs` the upstream's address;
//! - `cooldown.rs` and `duration.rs` read times;
//! - `logging.rs` logs to stderr;
//! - `policy.rs` selects the provider's policy;
//! - `state_file.rs` saves the state of the keys across restarts, with the feature `serde`;
//! - `reload.rs` reloads the keys when their file changes;
//! - `admin/` is the admin listener, where operators see, disable and reinstate keys.

// A binary has no public API.
#![allow(unreachable_pub)]

mod admin;
mod bad_input;
mod byok;
mod client_token;
mod config;
mod connections;
mod cooldown;
mod duration;
mod environment;
mod failovers;
mod flags;
mod headers;
mod keys;
mod local_response;
mod logging;
mod origin;
mod policy;
mod proxy;
mod reload;
mod server;
mod signals;
#[cfg(feature = "serde")]
mod state_file;
mod target;
mod timing;
mod upgrade;
mod upstream;
mod upstream_client;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::net::{TcpListener, lookup_host};
use tokio::sync::oneshot;
use tower::service_fn;
use tracing::info;

use self::admin::{Admin, Guesses};
use self::bad_input::{BadInput, bad};
use self::config::{Config, unless_zero};
use self::connections::Connections;
use self::failovers::Failovers;
use self::proxy::Proxy;
use self::reload::Reload;
#[cfg(feature = "serde")]
use self::state_file::StateFile;

#[tokio::main]
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
    let config = Config::read()?;
    logging::start(config.log);
    let mut signals = signals::Stop::new()?;
    let listener = listen("--listen", &config.listen, config.is_local_only()).await?;
    let failovers = Arc::new(Failovers::default());
    let proxy = Arc::new(Proxy::new(&config, Arc::clone(&failovers)));
    let serving = Arc::clone(&proxy);
    let gateway = service_fn(move |request| {
        let proxy = Arc::clone(&serving);
        async move { proxy.forward(request).await }
    });

    let features: Vec<&str> = [
        ("client token", config.client_token.is_some()),
        ("open", config.open),
        ("admin", config.admin.is_some()),
        ("admin token", config.admin_token.is_some()),
        ("keys file", config.keys_file.is_some()),
        #[cfg(feature = "serde")]
        ("state file", config.state_file.is_some()),
        ("wait for key", !config.limits.wait_for_key.is_zero()),
        ("expose failover", config.expose_failover),
    ]
    .into_iter()
    .filter_map(|(name, is_enabled)| is_enabled.then_some(name))
    .collect();
    let admin_listener = match &config.admin {
        Some(address) => Some(listen("--admin", address, false).await?),
        None => None,
    };
    #[cfg(feature = "serde")]
    let state_file = match (config.state_file, &config.pool) {
        (Some(file), Some(pool)) => Some(StateFile::start(file, Arc::clone(pool))?),
        _ => None,
    };
    if let (Some((file, text)), Some(pool)) = (config.keys_file, &config.pool)
        && reload::is_reloadable(&file)
    {
        let reload = Reload::new(file, text, Arc::clone(pool));
        tokio::spawn(reload.run(signals::Hangup::new()?));
    }
    println!("gateway listening on http://{}", listener.local_addr()?);
    let admin = match admin_listener {
        Some(listener) => {
            let address = listener.local_addr()?;
            println!("admin listening on http://{address}");
            let admin = Admin {
                pool: config.pool.clone(),
                failovers,
                byok: Arc::clone(&proxy.byok),
                token: config.admin_token,
                guesses: Guesses::default(),
                on_loopback: address.ip().is_loopback(),
                provider: config.policy.name(),
                upstream: config.upstream.to_string(),
            };
            Some((listener, admin::router(admin)))
        }
        None => None,
    };

    let (max, idle_timeout) = (config.limits.max_connections, config.limits.idle_timeout);
    let connections = || Connections::new(max.get(), unless_zero(idle_timeout));
    info!(
        target: "gateway",
        version = env!("CARGO_PKG_VERSION"),
        provider = config.policy.name(),
        upstream = %config.upstream,
        keys = logging::names(config.pool.as_deref()),
        features = features.join(", "),
        "started"
    );
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = stopped.map(drop).shared();
    let serving = async {
        let admin = async {
            if let Some((listener, router)) = admin {
                server::serve(listener, router, connections(), stopped.clone()).await;
            }
        };
        tokio::join!(
            server::serve(listener, gateway, connections(), stopped.clone()),
            admin
        );
        proxy.tunnels.finished().await;
    };
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        _ = &mut serving => {}
        () = signals.next() => {}
    }
    drop(stop);
    // Responses in flight may take long. A second signal ends them.
    tokio::select! {
        _ = serving => {}
        () = signals.next() => {}
    }
    #[cfg(feature = "serde")]
    if let Some(state_file) = state_file {
        state_file.finish().await;
    }
    Ok(())
}

async fn listen(flag: &str, address: &str, needs_loopback: bool) -> Result<TcpListener, BadInput> {
    let failed = |error| BadInput(format!("{flag} {address}: {error}"));
    let addresses: Vec<_> = lookup_host(address).await.map_err(failed)?.collect();
    let is_loopback = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
    if needs_loopback && !addresses.iter().all(is_loopback) {
        return bad(format!(
            "{flag} {address} is not on loopback: set GATEWAY_CLIENT_TOKEN, or give --open to let \
             anyone who can connect use the keys"
        ));
    }
    TcpListener::bind(&*addresses).await.map_err(failed)
}
