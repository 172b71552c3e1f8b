//! The HTTP client for the upstream.
//!
//! `connect.rs` opens connections, and `idle.rs` keeps them for further requests.

mod connect;
mod idle;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::header::HOST;
use axum::http::{HeaderValue, Request, Response, Uri};
use futures_util::FutureExt;
use hyper::body::Incoming;
use tokio::time::timeout;
use tower::Service;
use tower_key_failover::{BoxError, RequestBody, model_scope};

use self::connect::{Connection, connect};
pub use self::connect::{Versions, prepare};
use crate::client_body::ClientBody;

type Body = RequestBody<model_scope::RequestBody<ClientBody>>;
type Responded = Result<Response<Incoming>, UpstreamError>;

#[derive(Debug)]
pub enum UpstreamError {
    Connect(BoxError),
    Request(hyper::Error),
    TimedOut,
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Request(error) => error.fmt(f),
            Self::TimedOut => f.write_str("no response head within --upstream-timeout"),
        }
    }
}

impl std::error::Error for UpstreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect(error) => error.source(),
            Self::Request(error) => error.source(),
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

impl UpstreamClient {
    pub fn new(versions: Versions, timeout: Option<Duration>) -> Self {
        Self { versions, timeout }
    }
}

impl Service<Request<Body>> for UpstreamClient {
    type Response = Response<Incoming>;
    type Error = UpstreamError;
    type Future = Pin<Box<dyn Future<Output = Responded> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let sent = send(self.versions, request);
        match self.timeout {
            Some(time) => {
                let in_time = timeout(time, sent);
                Box::pin(in_time.map(|sent| sent.unwrap_or(Err(UpstreamError::TimedOut))))
            }
            None => Box::pin(sent),
        }
    }
}

async fn send(versions: Versions, mut request: Request<Body>) -> Responded {
    let target = request.uri().clone();
    loop {
        let (mut connection, is_reused) = match idle::take(versions, &target) {
            Some(connection) => (connection, true),
            // Boxed, because every request would carry the space for it.
            None => (Box::pin(connect(versions, &target)).await?, false),
        };
        if let (false, Some(shared)) = (is_reused, connection.shared()) {
            idle::keep(versions, &target, shared);
        }
        prepare_for(&connection, &target, &mut request);
        let mut error = match connection.send(request).await {
            Ok(response) => {
                if connection.shared().is_none() {
                    idle::keep(versions, &target, connection);
                }
                return Ok(response);
            }
            Err(error) => error,
        };
        // The upstream closes a connection that has been idle for too long.
        match error.take_message() {
            Some(unsent) if is_reused => request = unsent,
            _ => return Err(UpstreamError::Request(error.into_error())),
        }
    }
}

/// HTTP/1.1 names the host in a header, and HTTP/2 in the target.
fn prepare_for<B>(connection: &Connection, target: &Uri, request: &mut Request<B>) {
    match connection {
        Connection::Http1(_) => {
            let path = target.path_and_query().cloned();
            *request.uri_mut() = path.map(Uri::from).unwrap_or_default();
            // The header is missing if the request was prepared for an HTTP/2 connection that has closed.
            if let (false, Some(host)) = (request.headers().contains_key(HOST), target.authority())
            {
                let host = HeaderValue::from_str(host.as_str());
                request
                    .headers_mut()
                    .insert(HOST, host.expect("the name of a host is visible"));
            }
        }
        Connection::Http2(_) => {
            *request.uri_mut() = target.clone();
            request.headers_mut().remove(HOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::client::conn::{http1, http2};
    use hyper_util::rt::{TokioExecutor, TokioIo};

    use super::*;

    #[tokio::test]
    async fn a_request_that_moves_from_http2_to_http1_names_its_host() {
        let (stream, _peer) = tokio::io::duplex(1024);
        let (http2, _) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        let (stream, _peer) = tokio::io::duplex(1024);
        let (http1, _) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let target = Uri::from_static("https://api.example:8443/v1");
        let mut request = Request::new(());

        prepare_for(&Connection::Http2(http2), &target, &mut request);
        prepare_for(&Connection::Http1(http1), &target, &mut request);

        assert_eq!(request.headers()[HOST], "api.example:8443");
        assert_eq!(request.uri(), "/v1");
    }
}
