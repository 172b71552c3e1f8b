//! Opens connections.

use std::sync::LazyLock;
use std::time::Duration;

use axum::http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower::ServiceExt;

use super::{Body, UpstreamError};

/// How long a connection to the upstream may be silent before the gateway sends a ping or a TCP probe.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, PartialEq, Eq)]
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

/// A connection, which a task drives.
pub enum Connection {
    /// For one request at a time.
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

impl Connection {
    pub async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        match self {
            Self::Http1(sender) => sender.try_send_request(request).await,
            Self::Http2(sender) => sender.try_send_request(request).await,
        }
    }

    /// The same connection for another request at the same time, if it can serve several.
    pub fn shared(&self) -> Option<Self> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(sender) => Some(Self::Http2(sender.clone())),
        }
    }

    pub fn is_ready(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_ready(),
            Self::Http2(sender) => sender.is_ready(),
        }
    }
}

/// Opens a connection to the host of a request.
pub async fn connect(versions: Versions, target: &Uri) -> Result<Connection, UpstreamError> {
    let connector = CONNECTORS[versions as usize].clone();
    let stream = connector.oneshot(target.clone()).await;
    let stream = stream.map_err(UpstreamError::Connect)?;
    let is_http2 = match versions {
        Versions::Any => stream.connected().is_negotiated_h2(),
        Versions::Http1 => false,
        Versions::Http2 => true,
    };
    if is_http2 {
        let handshake = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .handshake(stream);
        let (sender, connection) = handshake.await.map_err(failed)?;
        // Errors are those of its requests.
        tokio::spawn(connection);
        Ok(Connection::Http2(sender))
    } else {
        let handshake = http1::Builder::new().handshake(stream);
        let (sender, connection) = handshake.await.map_err(failed)?;
        tokio::spawn(connection.with_upgrades());
        Ok(Connection::Http1(sender))
    }
}

fn failed(error: hyper::Error) -> UpstreamError {
    UpstreamError::Connect(error.into())
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
