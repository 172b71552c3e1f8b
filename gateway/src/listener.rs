//! The addresses that the gateway listens on.

use std::net::SocketAddr;

use tokio::net::{TcpListener, lookup_host};

use crate::bad_input::BadInput;
use crate::config::{Config, Problem};

/// Where clients and operators connect to.
pub struct Addresses {
    clients: Address,
    operators: Option<Address>,
}

/// An address with its name in messages, and what it resolves to.
struct Address {
    name: String,
    resolved: Vec<SocketAddr>,
}

impl Addresses {
    /// Resolves the addresses, and checks that the one for clients is on loopback unless clients have a
    /// token.
    pub async fn resolve(config: &Config) -> Result<Self, Problem> {
        let clients = Address::resolve("listen", &config.settings.listen).await?;
        let is_loopback = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
        if config.is_local_only() && !clients.resolved.iter().all(is_loopback) {
            let what = format!(
                "{} is not on loopback: set GATEWAY_CLIENT_TOKEN, or give --open (in a file, open = true) \
                 to let anyone who can connect use the keys",
                config.settings.listen
            );
            return Err(Problem::of("listen", what));
        }
        let operators = match &config.settings.admin {
            Some(address) => Some(Address::resolve("admin", &or_port(address)).await?),
            None => None,
        };
        Ok(Self { clients, operators })
    }

    /// Binds both.
    pub async fn bind(&self) -> Result<(TcpListener, Option<TcpListener>), BadInput> {
        let clients = self.clients.bind().await?;
        let operators = match &self.operators {
            Some(address) => Some(address.bind().await?),
            None => None,
        };
        Ok((clients, operators))
    }
}

impl Address {
    async fn resolve(field: &str, address: &str) -> Result<Self, Problem> {
        match lookup_host(address).await {
            Ok(resolved) => Ok(Self {
                name: format!("--{field} {address}"),
                resolved: resolved.collect(),
            }),
            // What is no address may be a key.
            Err(error) => Err(Problem::of(field, format!("cannot be resolved: {error}"))),
        }
    }

    async fn bind(&self) -> Result<TcpListener, BadInput> {
        let bound = TcpListener::bind(&*self.resolved).await;
        bound.map_err(|error| BadInput(format!("{}: {error}", self.name)))
    }
}

/// Adds the loopback address to a port.
fn or_port(address: &str) -> String {
    match address.parse::<u16>() {
        Ok(port) => format!("127.0.0.1:{port}"),
        Err(_) => address.to_owned(),
    }
}
