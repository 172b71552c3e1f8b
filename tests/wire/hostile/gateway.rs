//! The layer between hyper's server and hyper's client, on one thread.

use std::convert::Infallible;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};
use tower::{Layer, ServiceExt};
use tower_key_failover::policy::Provider;
use tower_key_failover::pool::KeyState;
use tower_key_failover::{KeyFailoverLayer, KeyPool, ReplayBudget, RequestBody};

use crate::hostile::peer::Peer;

pub const MAX_COOLDOWN: Duration = Duration::from_secs(600);
pub const MAX_REPLAY: usize = 1 << 20;
/// How long a client may take over its request's head.
pub const HEAD_TIMEOUT: Duration = Duration::from_millis(300);

/// What came of it.
#[derive(Debug)]
pub struct Ran<T> {
    /// What the client returned.
    pub client: T,
    pub states: Vec<KeyState>,
    pub elapsed: Duration,
    /// The most that was held at a time, in bytes.
    pub most: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// Runs a client against a gateway in front of `upstream`, with two keys. At the end nothing is
/// under way any more, and nothing is held.
pub fn run<T: Send + 'static>(
    upstream: SocketAddr,
    protocol: Protocol,
    client: impl FnOnce(Peer) -> T + Send + 'static,
) -> Ran<T> {
    run_many(upstream, protocol, move |gateway| {
        client(Peer::connect(gateway))
    })
}

/// The same with as many clients as it likes.
pub fn run_many<T: Send + 'static>(
    upstream: SocketAddr,
    protocol: Protocol,
    client: impl FnOnce(SocketAddr) -> T + Send + 'static,
) -> Ran<T> {
    let pool = KeyPool::builder()
        .key("first-key-0123456789")
        .key("second-key-012345678")
        .max_cooldown(MAX_COOLDOWN)
        .build();
    let pool = Arc::new(pool.unwrap());
    let budget = ReplayBudget::new(usize::MAX);
    let layer = KeyFailoverLayer::new(Provider::openai(), Arc::clone(&pool))
        .max_replay_bytes(MAX_REPLAY)
        .replay_budget(budget.clone());

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (done, is_done) = oneshot::channel();
    let start = Instant::now();
    let client = thread::spawn(move || {
        let returned = client(address);
        let _ = done.send(());
        returned
    });
    let measured = allocation_counter::measure(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(serve(listener, layer, protocol, upstream, is_done));
    });
    let ran = Ran {
        client: client.join().unwrap(),
        states: pool.states(),
        elapsed: Instant::now().saturating_duration_since(start),
        most: measured.bytes_max,
    };
    println!("{} bytes, {:?}", ran.most, ran.elapsed);
    assert_eq!(budget.held(), 0, "something is kept for being sent again");
    // Tables that a thread or a process sets up once.
    assert!(measured.bytes_current < 64 << 10, "{measured:?}");
    ran
}

async fn serve(
    listener: TcpListener,
    layer: KeyFailoverLayer<Provider>,
    protocol: Protocol,
    upstream: SocketAddr,
    is_done: oneshot::Receiver<()>,
) {
    let tasks = Tasks::default();
    let client = Client::builder(tasks.clone())
        .http2_only(protocol == Protocol::Http2)
        .build_http::<RequestBody<Incoming>>();
    let service = layer.layer(client);
    let accepting = async {
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let service = service.clone();
            let respond = service_fn(move |mut request: Request<Incoming>| {
                let uri = format!("http://{upstream}{}", request.uri().path());
                *request.uri_mut() = uri.parse().unwrap();
                request.headers_mut().remove("host");
                let sent = service.clone().oneshot(request);
                async move {
                    Ok::<_, Infallible>(match sent.await {
                        Ok(response) => response.map(Either::Left),
                        Err(_) => bad_gateway().map(Either::Right),
                    })
                }
            });
            let mut server = hyper::server::conn::http1::Builder::new();
            server.timer(TokioTimer::new());
            server.header_read_timeout(HEAD_TIMEOUT);
            let connection = server.serve_connection(TokioIo::new(stream), respond);
            tasks.spawn(connection);
        }
    };
    tokio::select! {
        () = accepting => {}
        _ = is_done => {}
    }
    // Lets go of the connections that wait for a request, but not of those that have one.
    drop(service);
    tasks.ended().await;
}

fn bad_gateway() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

/// Every task that the gateway begins.
#[derive(Clone, Debug, Default)]
struct Tasks(watch::Sender<()>);

impl Tasks {
    fn spawn(&self, task: impl Future<Output: Send> + Send + 'static) {
        let running = self.0.subscribe();
        tokio::spawn(async move {
            task.await;
            drop(running);
        });
    }

    async fn ended(&self) {
        let ended = timeout(Duration::from_secs(10), self.0.closed()).await;
        ended.expect("something is still under way");
    }
}

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}
