//! The HTTP client for the upstream.

use std::fmt;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::{Request, Response};
use futures_util::future::{Either, FutureExt, Map};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::error::Elapsed;
use tokio::time::{Timeout, timeout};
use tower::Service;
use tower_key_failover::{RequestBody, model_scope};

/// How long a connection to the upstream may be silent before the gateway asks for a sign of life.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

type Body = RequestBody<model_scope::RequestBody<Incoming>>;
type Responded = Result<Response<Incoming>, UpstreamError>;

#[derive(Clone, Copy)]
pub enum Versions {
    /// HTTP/1.1, or HTTP/2 if TLS negotiates it.
    Any,
    Http1,
    /// HTTP/2 with and without TLS, for gRPC.
    Http2,
}

impl Versions {
    const ALL: [Self; 3] = [Self::Any, Self::Http1, Self::Http2];
}

#[derive(Debug)]
pub enum UpstreamError {
    Client(Error),
    TimedOut,
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => error.fmt(f),
            Self::TimedOut => f.write_str("no response head within --upstream-timeout"),
        }
    }
}

impl std::error::Error for UpstreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Client(error) => error.source(),
            Self::TimedOut => None,
        }
    }
}

/// Sends one attempt, and waits for the head of its response for a limited time.
///
/// All routes share their connections. Each runtime has its own, so that an attempt never waits for
/// another thread.
#[derive(Clone)]
pub struct UpstreamClient {
    versions: Versions,
    timeout: Option<Duration>,
}

type HttpClient = Client<HttpsConnector<HttpConnector>, Body>;

thread_local! {
    /// The clients of the runtime of this thread.
    static CLIENTS: [HttpClient; 3] = Versions::ALL.map(client);
}

impl UpstreamClient {
    pub fn new(versions: Versions, timeout: Option<Duration>) -> Self {
        Self { versions, timeout }
    }
}

fn client(versions: Versions) -> HttpClient {
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_only(matches!(versions, Versions::Http2))
        .http2_keep_alive_interval(KEEP_ALIVE)
        .build(CONNECTORS[versions as usize].clone())
}

/// Reads the trusted certificates. Otherwise, the first request does.
pub fn prepare() {
    LazyLock::force(&CONNECTORS);
}

/// Runtimes share the roots and the TLS sessions.
static CONNECTORS: LazyLock<[HttpsConnector<HttpConnector>; 3]> =
    LazyLock::new(|| Versions::ALL.map(connector));

fn connector(versions: Versions) -> HttpsConnector<HttpConnector> {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.set_connect_timeout(Some(Duration::from_secs(10)));
    http.set_keepalive(Some(KEEP_ALIVE));
    http.set_keepalive_interval(Some(KEEP_ALIVE / 3));
    http.set_keepalive_retries(Some(3));
    http.enforce_http(false);
    // Use the roots of the system or of SSL_CERT_FILE, and Mozilla's if there are none.
    let connector = HttpsConnectorBuilder::new()
        .with_native_roots()
        .unwrap_or_else(|_| HttpsConnectorBuilder::new().with_webpki_roots())
        .https_or_http();
    match versions {
        Versions::Any => connector.enable_all_versions().wrap_connector(http),
        Versions::Http1 => connector.enable_http1().wrap_connector(http),
        Versions::Http2 => connector.enable_http2().wrap_connector(http),
    }
}

type Limited = Map<
    Timeout<ResponseFuture>,
    fn(Result<Result<Response<Incoming>, Error>, Elapsed>) -> Responded,
>;
type Unlimited = Map<ResponseFuture, fn(Result<Response<Incoming>, Error>) -> Responded>;

impl Service<Request<Body>> for UpstreamClient {
    type Response = Response<Incoming>;
    type Error = UpstreamError;
    type Future = Either<Limited, Unlimited>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let response = CLIENTS.with(|clients| clients[self.versions as usize].request(request));
        match self.timeout {
            Some(time) => Either::Left(timeout(time, response).map(in_time)),
            None => Either::Right(response.map(|response| response.map_err(UpstreamError::Client))),
        }
    }
}

fn in_time(response: Result<Result<Response<Incoming>, Error>, Elapsed>) -> Responded {
    match response {
        Ok(response) => response.map_err(UpstreamError::Client),
        Err(_) => Err(UpstreamError::TimedOut),
    }
}
