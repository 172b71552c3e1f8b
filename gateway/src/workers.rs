//! One runtime per core for the connections of clients.
//!
//! A connection stays on its runtime, with the connections to upstreams that its requests use, so a
//! request wakes no other thread. The main thread accepts connections and deals each to the runtime with
//! the fewest. This balances a small number of connections exactly, which listeners with `SO_REUSEPORT` do
//! not, and a second gateway on the same address is still an error.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::{mpsc, oneshot};
use tower::service_fn;

use crate::connections::Connection;
use crate::gateway::Gateway;
use crate::server::Server;
use crate::upstream_client;

pub struct Workers {
    workers: Vec<Worker>,
    /// Where the search for the one with the fewest connections starts.
    next: usize,
}

struct Worker {
    queue: mpsc::UnboundedSender<Dealt>,
    open: Arc<AtomicUsize>,
    ended: oneshot::Receiver<()>,
}

/// A connection, which counts until it is dropped.
struct Dealt {
    stream: std::net::TcpStream,
    connection: Connection,
    counted: Counted,
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Starts a thread per core.
    pub fn start(gateway: &Arc<Gateway>) -> io::Result<Self> {
        upstream_client::prepare();
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let workers = (0..cores).map(|number| Worker::start(number, Arc::clone(gateway)));
        Ok(Self {
            workers: workers.collect::<io::Result<_>>()?,
            next: 0,
        })
    }

    /// Gives a connection to the worker with the fewest.
    pub fn deal(&mut self, stream: TcpStream, connection: Connection) {
        let count = self.workers.len();
        let in_turn = (0..count).map(|offset| (self.next + offset) % count);
        let fewest = in_turn.min_by_key(|at| self.workers[*at].open.load(Ordering::Relaxed));
        self.next = (self.next + 1) % count;
        if let (Some(at), Ok(stream)) = (fewest, stream.into_std()) {
            let worker = &self.workers[at];
            worker.open.fetch_add(1, Ordering::Relaxed);
            let counted = Counted(Arc::clone(&worker.open));
            // Fails only after the worker has ended.
            let _ = worker.queue.send(Dealt {
                stream,
                connection,
                counted,
            });
        }
    }

    /// Waits until all connections are closed.
    pub async fn finish(self) {
        // Each worker closes its connections when its queue is dropped, so drop all before waiting for one.
        let close = |worker: Worker| worker.ended;
        let ended: Vec<_> = self.workers.into_iter().map(close).collect();
        for ended in ended {
            let _ = ended.await;
        }
    }
}

impl Worker {
    fn start(number: usize, gateway: Arc<Gateway>) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (queue, dealt) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || {
                runtime.block_on(work(gateway, dealt));
                drop(end);
            })?;
        Ok(Self {
            queue,
            open: Arc::default(),
            ended,
        })
    }
}

/// Serves connections until no more are dealt and all are closed.
async fn work(gateway: Arc<Gateway>, mut dealt: mpsc::UnboundedReceiver<Dealt>) {
    let serving = Arc::clone(&gateway);
    let server = Server::new(service_fn(move |request| {
        let gateway = Arc::clone(&serving);
        async move { gateway.forward(request).await }
    }));
    while let Some(dealt) = dealt.recv().await {
        if let Ok(stream) = TcpStream::from_std(dealt.stream) {
            server.serve(stream, dealt.connection, dealt.counted);
        }
    }
    server.finish().await;
    gateway.tunnels.finished().await;
}
