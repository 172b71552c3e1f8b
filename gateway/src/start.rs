//! Starts the gateway, and waits until it ends.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::admin::{self, Admin, Guesses};
use crate::bad_input::BadInput;
use crate::config::{Config, Source};
use crate::connections::Connections;
use crate::gateway::Gateway;
use crate::listener::Addresses;
use crate::reload::Reload;
use crate::replicas::Replicas;
use crate::server::{self, Server};
use crate::settings::Settings;
#[cfg(feature = "serde")]
use crate::state_file::StateFile;
use crate::workers::Workers;
use crate::{logging, returns, signals};

/// Reports that the configuration is valid.
pub async fn check(source: &Source, config: &Config) -> Result<(), BadInput> {
    let addresses = Addresses::resolve(config).await;
    addresses.map_err(|problem| source.describe(config, &problem))?;
    let pools = config.routes.iter().filter_map(|route| route.pool.as_ref());
    let keys: usize = pools.map(|(keys, _)| keys.len()).sum();
    let routes = config.routes.len();
    println!("{} is valid: routes: {routes}, keys: {keys}", source.name());
    Ok(())
}

/// Serves requests until a signal ends the gateway.
pub async fn start(source: Source, mut config: Config) -> Result<(), BadInput> {
    logging::start(config.settings.log);
    let signals = signals::Stop::new()?;
    let addresses = Addresses::resolve(&config).await;
    let addresses = addresses.map_err(|problem| source.describe(&config, &problem))?;
    let (listener, admin_listener) = addresses.bind().await?;
    let gateway = Arc::new(Gateway::new(&mut config));
    #[cfg(feature = "serde")]
    let state_file = match config.settings.state_file.clone() {
        Some(file) => Some(StateFile::start(file, Arc::clone(&gateway))?),
        None => None,
    };
    let replicas = match config
        .settings
        .redis
        .clone()
        .zip(config.redis_secret.clone())
    {
        Some((url, secret)) => Some(Replicas::start(url, secret, Arc::clone(&gateway)).await?),
        None => None,
    };
    if config.settings.log != logging::Format::Off {
        tokio::spawn(returns::log(Arc::clone(&gateway)));
    }
    let workers = Workers::start(&gateway)?;
    log_start(&source, &config, &gateway);
    let (settings, admin_token) = (config.settings.clone(), config.admin_token.clone());
    if config.is_reloadable() {
        let reload = Reload::new(source, config, Arc::clone(&gateway));
        tokio::spawn(reload.run(signals::Hangup::new()?));
    }
    println!("gateway listening on http://{}", listener.local_addr()?);
    let admin = match admin_listener {
        Some(listener) => {
            let address = listener.local_addr()?;
            println!("admin listening on http://{address}");
            let admin = Admin {
                gateway: Arc::clone(&gateway),
                replicas: replicas.clone(),
                token: admin_token,
                guesses: Guesses::default(),
                on_loopback: address.ip().to_canonical().is_loopback(),
            };
            Some((listener, admin::router(admin)))
        }
        None => None,
    };

    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = stopped.map(drop).shared();
    let serving = async {
        tokio::join!(
            serve_clients(listener, workers, &settings, stopped.clone()),
            serve_operators(admin, &settings, stopped.clone())
        );
    };
    until_stopped(serving, signals, stop).await;
    if let Some(replicas) = replicas {
        replicas.finish().await;
    }
    #[cfg(feature = "serde")]
    if let Some(state_file) = state_file {
        state_file.finish().await;
    }
    Ok(())
}

async fn serve_clients(
    listener: TcpListener,
    mut workers: Workers,
    settings: &Settings,
    stopped: impl Future<Output = ()>,
) {
    let deal = |stream, connection| workers.deal(stream, connection);
    server::accept_until(stopped, listener, connections(settings), deal).await;
    workers.finish().await;
}

async fn serve_operators(
    admin: Option<(TcpListener, axum::Router)>,
    settings: &Settings,
    stopped: impl Future<Output = ()>,
) {
    if let Some((listener, router)) = admin {
        let server = Server::new(router);
        let serve = |stream, connection| server.serve(stream, connection, ());
        server::accept_until(stopped, listener, connections(settings), serve).await;
        server.finish().await;
    }
}

fn connections(settings: &Settings) -> Connections {
    let idle_timeout = settings.idle_timeout.unless_zero();
    Connections::new(settings.max_connections.get(), idle_timeout)
}

/// Runs until a signal, and then until the requests in flight are done. These may take long, and a
/// second signal ends them.
async fn until_stopped(
    serving: impl Future<Output = ()>,
    mut signals: signals::Stop,
    stop: oneshot::Sender<()>,
) {
    let mut serving = pin!(serving);
    tokio::select! {
        () = &mut serving => {}
        () = signals.next() => {}
    }
    drop(stop);
    tokio::select! {
        () = serving => {}
        () = signals.next() => {}
    }
}

/// Logs one line for each route.
fn log_start(source: &Source, config: &Config, gateway: &Gateway) {
    let settings = &config.settings;
    let has_file = matches!(source, Source::File(_));
    let features: Vec<&str> = [
        ("client token", config.client_token.is_some()),
        ("open", settings.open),
        ("admin", settings.admin.is_some()),
        ("admin token", config.admin_token.is_some()),
        ("config file", has_file),
        ("keys file", config.files.len() > usize::from(has_file)),
        ("state file", settings.state_file.is_some()),
        ("redis", settings.redis.is_some()),
        ("expose failover", settings.expose_failover),
    ]
    .into_iter()
    .filter_map(|(name, is_enabled)| is_enabled.then_some(name))
    .collect();
    for route in gateway.routes().by_name() {
        info!(
            target: "gateway",
            version = env!("CARGO_PKG_VERSION"),
            route = route.name,
            requests = %route.matcher,
            provider = route.provider(),
            upstream = %route.upstream,
            keys = logging::names(route.pool.as_deref()),
            features = features.join(", "),
            "started"
        );
    }
    for file in config.files.iter().filter(|file| is_public(file)) {
        let file = file.display();
        warn!(target: "gateway", "{file}: every user of this machine can read it");
    }
}

#[cfg(unix)]
fn is_public(file: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt;

    let metadata = file.metadata();
    metadata.is_ok_and(|there| there.is_file() && there.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn is_public(_: &std::path::Path) -> bool {
    false
}
