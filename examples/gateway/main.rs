//! A reverse proxy that holds several API keys for one provider, and goes on with the next key when
//! one is refused.
//!
//! ```text
//! GATEWAY_KEYS=sk-ant-one,sk-ant-two cargo run --example gateway -- \
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
//! - `admin.rs` shows the state of the keys, on an address of its own;
//! - `config.rs` reads flags and environment.

// A program has no API.
#![allow(unreachable_pub)]

mod admin;
mod config;
mod headers;
mod own;
mod proxy;
mod server;
mod upgrade;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tower::service_fn;

use self::config::{BadInput, Config};
use self::proxy::Proxy;

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
    let proxy = Arc::new(Proxy::new(&config));
    let serving = Arc::clone(&proxy);
    let gateway = service_fn(move |request| {
        let proxy = Arc::clone(&serving);
        async move { proxy.forward(request).await }
    });

    let mut signals = Signals::new()?;
    let listener = listen("--listen", &config.listen).await?;
    let admin_listener = match &config.admin {
        Some(address) => Some(listen("--admin", address).await?),
        None => None,
    };
    println!("gateway listening on http://{}", listener.local_addr()?);
    if let Some(listener) = &admin_listener {
        println!("admin listening on http://{}", listener.local_addr()?);
    }

    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = stopped.map(drop).shared();
    let serving = async {
        let admin = async {
            if let Some(listener) = admin_listener {
                server::serve(listener, admin::router(config.pool), stopped.clone()).await;
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
    Ok(())
}

async fn listen(flag: &str, address: &str) -> Result<TcpListener, BadInput> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| BadInput(format!("{flag} {address}: {error}")))
}

/// SIGINT and SIGTERM; elsewhere than on Unix, Ctrl-C alone.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
