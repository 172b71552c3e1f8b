//! Upstreams that respond by key and record requests, and clients for them.

use std::future::{Future, pending};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower::Service;
use tower_key_failover::policy::Provider;
use tower_key_failover::{KeyFailoverLayer, KeyPool};

pub type Body = Full<Bytes>;
pub type HttpClient<B> = Client<HttpConnector, B>;

/// No test waits longer than this for anything.
const PATIENCE: Duration = Duration::from_secs(20);

pub async fn within<F: Future>(future: F) -> F::Output {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.expect("nothing came of it in time")
}

pub fn pool<const N: usize>(keys: [&'static str; N]) -> Arc<KeyPool> {
    Arc::new(KeyPool::new(keys).unwrap())
}

pub fn failover(pool: &Arc<KeyPool>) -> KeyFailoverLayer<Provider> {
    KeyFailoverLayer::new(Provider::bearer(), Arc::clone(pool))
}

/// The head of every request that an upstream got.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<Mutex<Vec<request::Parts>>>);

impl Seen {
    pub fn note(&self, head: request::Parts) -> usize {
        let mut heads = self.0.lock().unwrap();
        heads.push(head);
        heads.len()
    }

    pub fn heads(&self) -> Vec<request::Parts> {
        self.0.lock().unwrap().clone()
    }

    pub fn keys(&self) -> Vec<String> {
        let heads = self.heads();
        let keys = heads.iter().map(|head| key_of(&head.headers).to_owned());
        keys.collect()
    }
}

pub fn key_of(headers: &HeaderMap) -> &str {
    let value = headers.get("authorization").map(|value| value.to_str());
    let value = value.map_or("", Result::unwrap);
    value.strip_prefix("Bearer ").unwrap_or(value)
}

/// A provider in process: it responds as its keys are named, and echoes bodies and trailers under a
/// good one.
pub fn provider(seen: &Seen) -> Router {
    Router::new().fallback(response).with_state(seen.clone())
}

async fn response(State(seen): State<Seen>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let key = key_of(&head.headers).to_owned();
    let path = head.uri.path().to_owned();
    let delay = head.headers.get("x-delay-ms").cloned();
    let number = seen.note(head);
    if let Some(delay) = delay {
        let delay = delay.to_str().unwrap().parse().unwrap();
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    match (&*key, &*path) {
        ("silent", _) => pending().await,
        (_, "/silent-at-first") if number == 1 => pending().await,
        ("limited", _) => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")]).into_response(),
        ("revoked", _) => StatusCode::UNAUTHORIZED.into_response(),
        (_, "/down-at-second") if number == 2 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        (_, "/stalls") => {
            let first = futures_util::stream::iter([Ok::<_, std::io::Error>("begun")]);
            let stall = futures_util::stream::pending();
            let stream = futures_util::StreamExt::chain(first, stall);
            axum::body::Body::from_stream(stream).into_response()
        }
        _ => Response::new(body),
    }
}

/// A server on loopback. It goes with its handle.
pub struct Upstream {
    pub address: SocketAddr,
    pub seen: Seen,
    scheme: &'static str,
    task: JoinHandle<()>,
}

impl Upstream {
    /// [`provider`] over HTTP/1.1 and, with prior knowledge, HTTP/2.
    pub async fn start() -> Self {
        let seen = Seen::default();
        let (address, task) = serve(provider(&seen)).await;
        Self::new("http", address, seen, task)
    }

    pub fn new(
        scheme: &'static str,
        address: SocketAddr,
        seen: Seen,
        task: JoinHandle<()>,
    ) -> Self {
        Self {
            address,
            seen,
            scheme,
            task,
        }
    }

    pub fn uri(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    pub fn post(&self, body: &'static str) -> http::Request<Body> {
        let request = http::Request::post(self.uri("/v1/messages"));
        request.body(Full::from(body)).unwrap()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves `router` on a port of its own.
pub async fn serve(router: Router) -> (SocketAddr, JoinHandle<()>) {
    let listener = listen().await;
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, task)
}

pub async fn listen() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

pub fn client<B>() -> HttpClient<B>
where
    B: http_body::Body + Send,
    B::Data: Send,
{
    Client::builder(TokioExecutor::new()).build_http()
}

pub async fn text<B>(body: B) -> String
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let collected = within(body.collect()).await.unwrap();
    String::from_utf8(collected.to_bytes().to_vec()).unwrap()
}

/// [`ServiceExt::ready`](tower::ServiceExt::ready) for callers with [`Body`].
pub async fn ready<S>(service: &mut S) -> &mut S
where
    S: Service<http::Request<Body>>,
    S::Error: std::fmt::Debug,
{
    within(tower::ServiceExt::ready(service)).await.unwrap()
}

/// Pins, when it compiles, what a service is to its runtime and its server.
pub fn assert_shareable<S, R>(_: &S)
where
    S: Service<R> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
}
