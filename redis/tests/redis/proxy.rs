//! A network between a replica and its server. It can break, and it records what passes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    Works,
    /// Nothing passes, and neither side is notified.
    Silent,
    /// What the server sends over existing connections is lost.
    Deaf,
    /// Connections are closed at once.
    Closed,
}

pub(crate) struct Proxy {
    addr: SocketAddr,
    network: watch::Sender<Network>,
    passed: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let network = watch::Sender::new(Network::Works);
        let passed = Arc::new(Mutex::new(Vec::new()));
        let (sender, recorded) = (network.clone(), Arc::clone(&passed));
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *sender.borrow() == Network::Closed {
                    continue;
                }
                let Ok(server) = TcpStream::connect(server).await else {
                    continue;
                };
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                for (from, to, loses) in [
                    (from_client, to_server, Network::Silent),
                    (from_server, to_client, Network::Deaf),
                ] {
                    let (network, recorded) = (sender.subscribe(), Arc::clone(&recorded));
                    tokio::spawn(forward(from, to, loses, network, recorded));
                }
            }
        });
        Self {
            addr,
            network,
            passed,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}/", self.addr)
    }

    pub(crate) fn set(&self, network: Network) {
        self.network.send_replace(network);
    }

    /// Everything that passed in both directions.
    pub(crate) fn passed(&self) -> Vec<u8> {
        self.passed.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    // Besides silence.
    loses: Network,
    mut network: watch::Receiver<Network>,
    recorded: Arc<Mutex<Vec<u8>>>,
) {
    let mut buffer = vec![0; 16 * 1024];
    // A connection that fell silent stays silent.
    let mut is_silent = false;
    loop {
        tokio::select! {
            changed = network.changed() => match *network.borrow() {
                _ if changed.is_err() => return,
                Network::Closed => return,
                Network::Silent => is_silent = true,
                network => is_silent |= network == loses,
            },
            read = from.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) if is_silent => {}
                Ok(count) => {
                    recorded.lock().unwrap().extend_from_slice(&buffer[..count]);
                    if to.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
            },
        }
    }
}
