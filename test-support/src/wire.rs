//! A body whose frames the test sends, a caller with the layer in front of a real client, and a
//! server whose responses the test sends.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, request};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_key_failover::pool::{KeyPool, KeyState};
use tower_key_failover::{BoxError, KeyFailover, KeyFailoverLayer, RequestBody};

use crate::policy::TestPolicy;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Fails instead of hanging.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    let timeout = tokio::time::timeout(PATIENCE, future).await;
    timeout.expect("nothing happens any more")
}

/// Makes two tests of one that takes the protocol.
#[macro_export]
macro_rules! on_both_protocols {
    ($($(#[$attribute:meta])* async fn $name:ident($protocol:ident: Protocol) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn run($protocol: Protocol) $body

            $(#[$attribute])*
            #[tokio::test]
            async fn over_http1() {
                $crate::wire::within(run(Protocol::Http1)).await;
            }

            $(#[$attribute])*
            #[tokio::test]
            async fn over_http2() {
                $crate::wire::within(run(Protocol::Http2)).await;
            }
        }
    )*};
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

pub fn all_valid(pool: &KeyPool) -> bool {
    pool.states().iter().all(|state| *state == KeyState::Valid)
}

/// A body whose frames come from a [`Feed`].
#[derive(Debug)]
pub struct Fed {
    frames: mpsc::UnboundedReceiver<Result<Frame<Bytes>, BoxError>>,
    /// The rest of the announced length, if there is one.
    left: Option<u64>,
}

/// Where a body's frames are sent from. The body ends when this is dropped.
#[derive(Debug)]
pub struct Feed {
    frames: mpsc::UnboundedSender<Result<Frame<Bytes>, BoxError>>,
}

impl Fed {
    pub fn of_unknown_length() -> (Feed, Self) {
        let (sender, frames) = mpsc::unbounded_channel();
        (Feed { frames: sender }, Self { frames, left: None })
    }

    pub fn of_length(length: u64) -> (Feed, Self) {
        let (feed, mut body) = Self::of_unknown_length();
        body.left = Some(length);
        (feed, body)
    }

    /// A body that is there, and tells its length.
    pub fn full(data: impl Into<Bytes>) -> Self {
        let data = data.into();
        let (feed, body) = Self::of_length(data.len() as u64);
        feed.send(data);
        body
    }
}

impl Feed {
    pub fn send(&self, data: impl Into<Bytes>) {
        let _ = self.frames.send(Ok(Frame::data(data.into())));
    }

    pub fn send_trailers(&self, trailers: HeaderMap) {
        let _ = self.frames.send(Ok(Frame::trailers(trailers)));
    }

    pub fn fail(self) {
        let _ = self.frames.send(Err("the body failed".into()));
    }

    /// When nobody reads the body any more.
    pub async fn abandoned(&self) {
        self.frames.closed().await;
    }
}

impl Body for Fed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(self.frames.poll_recv(cx));
        if let (Some(left), Some(Ok(frame))) = (&mut self.left, &frame) {
            *left -= frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

pub type HttpClient<B = Fed> = Client<HttpConnector, RequestBody<B>>;

pub fn client<B>(protocol: Protocol) -> Client<HttpConnector, B>
where
    B: Body<Data: Send> + Send,
{
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .http2_only(protocol == Protocol::Http2)
        .build(connector)
}

/// The layer over a client of its own.
pub fn stack(
    layer: &KeyFailoverLayer<TestPolicy>,
    protocol: Protocol,
) -> KeyFailover<HttpClient, TestPolicy> {
    layer.layer(client(protocol))
}

/// Calls a service, in a task of its own.
pub fn call<S, B>(service: &S, request: Request<B>) -> JoinHandle<Result<S::Response, S::Error>>
where
    S: Service<Request<B>, Future: Send, Response: Send, Error: Send> + Clone + Send + 'static,
    B: Send + 'static,
{
    tokio::spawn(service.clone().oneshot(request))
}

/// A server. It passes each request to the test, which responds to it.
#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    exchanges: mpsc::UnboundedReceiver<Exchange>,
}

/// A request at the server that has no response yet. Dropped without one, the server lets
/// go of the request as if it had crashed over it.
#[derive(Debug)]
pub struct Exchange {
    pub head: request::Parts,
    pub body: Incoming,
    /// Which of the server's connections it came over, from 1.
    pub connection: usize,
    pub reply: oneshot::Sender<Response<Fed>>,
    leave: Arc<Notify>,
}

impl Server {
    pub async fn start(protocol: Protocol) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (sender, exchanges) = mpsc::unbounded_channel();
        tokio::spawn(accept(listener, protocol, Arc::clone(&connections), sender));
        Self {
            address,
            connections,
            exchanges,
        }
    }

    /// The same, but the first connection is the test's own.
    pub async fn start_behind_a_raw_connection() -> (Self, oneshot::Receiver<Raw>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (sender, exchanges) = mpsc::unbounded_channel();
        let (raw, first) = oneshot::channel();
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = raw.send(Raw::new(stream));
            accept(listener, Protocol::Http1, counted, sender).await;
        });
        let server = Self {
            address,
            connections,
            exchanges,
        };
        (server, first)
    }

    pub async fn next(&mut self) -> Exchange {
        self.exchanges.recv().await.expect("the server is gone")
    }

    /// Whether every request that came has been taken.
    pub fn has_no_other(&mut self) -> bool {
        self.exchanges.try_recv().is_err()
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn post(&self, body: Fed) -> Request<Fed> {
        let uri = format!("http://{}/v1/messages", self.address);
        Request::post(uri).body(body).unwrap()
    }
}

async fn accept(
    listener: TcpListener,
    protocol: Protocol,
    connections: Arc<AtomicUsize>,
    exchanges: mpsc::UnboundedSender<Exchange>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let connection = connections.fetch_add(1, Ordering::SeqCst) + 1;
        let exchanges = exchanges.clone();
        let leave = Arc::new(Notify::new());
        let leaves = Arc::clone(&leave);
        let service = service_fn(move |request: Request<Incoming>| {
            let (head, body) = request.into_parts();
            let (reply, replied) = oneshot::channel();
            let exchange = Exchange {
                head,
                body,
                connection,
                reply,
                leave: Arc::clone(&leaves),
            };
            let _ = exchanges.send(exchange);
            replied
        });
        serve(stream, protocol, service, leave);
    }
}

/// Serves one connection, in a task of its own, until `leave`.
fn serve<S, R>(stream: TcpStream, protocol: Protocol, service: S, leave: Arc<Notify>)
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<R>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    R: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    /// hyper's connections have no trait in common.
    macro_rules! run {
        ($connection:expr) => {{
            let mut connection = std::pin::pin!($connection);
            tokio::select! {
                biased;
                () = leave.notified() => connection.as_mut().graceful_shutdown(),
                _ = &mut connection => return,
            }
            let _ = connection.await;
        }};
    }

    stream.set_nodelay(true).unwrap();
    let stream = TokioIo::new(stream);
    tokio::spawn(async move {
        match protocol {
            Protocol::Http1 => {
                let server = hyper::server::conn::http1::Builder::new();
                run!(server.serve_connection(stream, service));
            }
            Protocol::Http2 => {
                let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                // As most servers have it: one upload that nobody reads does not block the
                // connection.
                server.initial_stream_window_size(64 * 1024);
                run!(server.serve_connection(stream, service));
            }
        }
    });
}

impl Exchange {
    pub fn key(&self) -> &str {
        self.head.headers["x-key"].to_str().unwrap()
    }

    /// Makes the server announce and close the connection after its response.
    pub fn leave(&self) {
        self.leave.notify_one();
    }

    /// Reads so many bytes, to the end of the frame that they end in.
    pub async fn read(&mut self, length: usize) -> Bytes {
        let mut read = BytesMut::new();
        while read.len() < length {
            let frame = self.body.frame().await.expect("the body is too short");
            read.extend_from_slice(frame.unwrap().data_ref().expect("the body is too short"));
        }
        read.freeze()
    }

    /// Responds, and lets go of the request's body.
    pub fn respond(self, status: u16) {
        self.respond_with(response(status));
    }

    pub fn respond_with(self, response: Response<Fed>) {
        // Gone already where the client hung up.
        let _ = self.reply.send(response);
    }

    /// Responds, and leaves the request's body to the test.
    pub fn respond_and_keep_body(self, response: Response<Fed>) -> Incoming {
        let _ = self.reply.send(response);
        self.body
    }
}

/// A response without a body.
pub fn response(status: u16) -> Response<Fed> {
    response_with(status, "")
}

pub fn response_with(status: u16, body: &'static str) -> Response<Fed> {
    let response = Response::builder().status(status);
    response.body(Fed::full(body)).unwrap()
}

/// A body that was read to its end.
#[derive(Debug, PartialEq)]
pub struct Whole {
    pub data: Bytes,
    pub trailers: Option<HeaderMap>,
}

/// Reads a body to its end. The error is of a body that ends abruptly.
pub async fn read_all<B: Body<Data = Bytes>>(body: B) -> Result<Whole, B::Error> {
    let collected = body.collect().await?;
    Ok(Whole {
        trailers: collected.trailers().cloned(),
        data: collected.to_bytes(),
    })
}

/// A connection on which the test itself speaks HTTP/1.1.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    read: BytesMut,
}

impl Raw {
    pub fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            read: BytesMut::new(),
        }
    }

    pub async fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.unwrap())
    }

    /// Everything up to and with the first occurrence of `text` in what has not been read.
    pub async fn read_until(&mut self, text: impl AsRef<[u8]>) -> Bytes {
        let text = text.as_ref();
        loop {
            let windows = &mut self.read.windows(text.len());
            if let Some(at) = windows.position(|window| window == text) {
                return self.read.split_to(at + text.len()).freeze();
            }
            let read = self.stream.read_buf(&mut self.read).await.unwrap();
            assert_ne!(read, 0, "ended too early: {:?}", self.read);
        }
    }

    pub async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Ends the sending side, and reads what still comes until the peer ends too.
    pub async fn close(mut self) -> Bytes {
        let _ = self.stream.shutdown().await;
        // A reset is an end, too.
        while let Ok(1..) = self.stream.read_buf(&mut self.read).await {}
        self.read.freeze()
    }
}

/// A gateway on HTTP/1.1: the layer between a server and a client of hyper's.
pub async fn proxy(layer: &KeyFailoverLayer<TestPolicy>, upstream: &Server) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let authority = upstream.address;
    let client: HttpClient<Incoming> = client(Protocol::Http1);
    let service = ServiceBuilder::new()
        .map_request(move |mut request: Request<Incoming>| {
            let uri = format!("http://{authority}{}", request.uri());
            *request.uri_mut() = uri.parse().unwrap();
            request.headers_mut().remove("host");
            request
        })
        .layer(layer)
        .service(client);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            serve(stream, Protocol::Http1, service, Arc::default());
        }
    });
    address
}
