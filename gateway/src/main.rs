//! A reverse proxy that holds several API keys for one provider, and goes on with the next key when
//! one is refused.
//!
//! ```text
//! GATEWAY_KEYS=sk-ant-one,sk-ant-two key-failover-gateway \
//!     --provider anthropic --upstream https://api.anthropic.com
//!
//! ANTHROPIC_BASE_URL=http://127.0.0.1:8080   # for the official SDKs
//! ```
//!
//! `--help` lists the flags and the environment variables. A request goes through these files:
//!
//! - `server.rs` accepts connections, HTTP/1.1 and HTTP/2, and lets them finish on SIGINT or SIGTERM;
//! - `proxy.rs` checks the client's token, aims the request at the upstream and gives it to the layer;
//! - `headers.rs` takes out what ends at a proxy;
//! - `own.rs` says in each provider's way what the gateway itself has to say;
//! - `upgrade.rs` carries WebSocket, once a handshake has been accepted;
//! - `timing.rs` tells the client of the attempts, where that is wanted, and `failovers.rs` the operator.
//!
//! Beside it:
//!
//! - `config.rs` reads flags and environment, `keys.rs` the list of keys, `upstream.rs` its address;
//! - `state_file.rs` keeps what is out over restarts, in a build with the feature `serde`;
//! - `reload.rs` reads the keys again when their file changes;
//! - `admin/` shows the keys to an operator, who can put them out and return them to service.

// A program has no API.
#![allow(unreachable_pub)]

mod admin;
mod config;
mod duration;
mod failovers;
mod headers;
mod keys;
mod own;
mod policy;
mod proxy;
mod reload;
mod server;
mod signals;
#[cfg(feature = "serde")]
mod state_file;
mod timing;
mod upgrade;
mod upstream;

use std::process::ExitCode;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tower::service_fn;

use self::admin::Admin;
use self::config::{BadInput, Config};
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
    let failovers = Arc::new(Failovers::default());
    let proxy = Arc::new(Proxy::new(&config, Arc::clone(&failovers)));
    let serving = Arc::clone(&proxy);
    let gateway = service_fn(move |request| {
        let proxy = Arc::clone(&serving);
        async move { proxy.forward(request).await }
    });

    let mut signals = signals::Stop::new()?;
    let listener = listen("--listen", &config.listen).await?;
    let admin_listener = match &config.admin {
        Some(address) => Some(listen("--admin", address).await?),
        None => None,
    };
    #[cfg(feature = "serde")]
    let state_file = match (config.state_file, &config.pool) {
        (Some(file), Some(pool)) => Some(StateFile::start(file, Arc::clone(pool))?),
        _ => None,
    };
    if let (Some((file, text)), Some(pool)) = (config.keys_file, &config.pool) {
        if reload::can_change(&file) {
            let reload = Reload::new(file, text, Arc::clone(pool));
            tokio::spawn(reload.run(signals::Hangup::new()?));
        }
    }
    println!("gateway listening on http://{}", listener.local_addr()?);
    let admin = match admin_listener {
        Some(listener) => {
            let address = listener.local_addr()?;
            println!("admin listening on http://{address}");
            let admin = Admin {
                pool: config.pool.clone(),
                failovers,
                token: config.admin_token,
                on_loopback: address.ip().is_loopback(),
                provider: config.policy.name(),
                upstream: config.upstream.to_string(),
            };
            Some((listener, admin::router(admin)))
        }
        None => None,
    };

    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = stopped.map(drop).shared();
    let serving = async {
        let admin = async {
            if let Some((listener, router)) = admin {
                server::serve(listener, router, stopped.clone()).await;
            }
        };
        tokio::join!(server::serve(listener, gateway, stopped.clone()), admin);
        proxy.tunnels.finished().await;
    };
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        _ = &mut serving => {}
        () = signals.next() => {}
    }
    drop(stop);
    // Running responses may take long: a second signal does not wait for them.
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

async fn listen(flag: &str, address: &str) -> Result<TcpListener, BadInput> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| BadInput(format!("{flag} {address}: {error}")))
}
