//! A reverse proxy of axum and hyper-util's client, with the layer and without it: all else is one.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};

use axum::body::Body;
use axum::error_handling::HandleErrorLayer;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use axum::{BoxError, Router};
use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, StatusCode, Uri, response};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder};
use tower_key_failover::policy::{BodyEvidence, Provider, ProviderPolicy};
use tower_key_failover::{KeyFailoverLayer, KeyPool, Mark, RequestBody, Verdict};

use crate::keys::key;

/// Has one key, which is never refused, and puts it into each request.
#[tokio::main]
pub async fn bare(upstream: SocketAddr) {
    let mut value = HeaderValue::from_str(&key(1)).unwrap();
    value.set_sensitive(true);
    let service = ServiceBuilder::new()
        .map_request(move |mut request: Request| {
            request.headers_mut().insert("x-api-key", value.clone());
            request
        })
        .service(client::<Body>(upstream));
    serve(service).await;
}

/// Has a pool of keys, of which the first `out` are permanently marked.
#[tokio::main]
pub async fn layer(upstream: SocketAddr, keys: usize, out: usize) {
    let pool = KeyPool::new((0..keys).map(key)).unwrap();
    for key in pool.keys().take(out) {
        key.mark_permanent();
    }
    // A refusal leaves no mark, so that the first key is tried, and refused, again and again.
    let policy = Provider::anthropic().map_verdict(without_mark);
    let service = ServiceBuilder::new()
        .layer(KeyFailoverLayer::new(policy, pool))
        .service(client::<RequestBody<Body>>(upstream));
    serve(service).await;
}

fn without_mark(_: &response::Parts, _: Option<&BodyEvidence<'_>>, verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Failover(_) => Verdict::Failover(Mark::keep()),
        verdict => verdict,
    }
}

fn client<B>(
    upstream: SocketAddr,
) -> impl Service<http::Request<B>, Response = Response, Error = Infallible, Future: Send>
+ Clone
+ Send
+ Sync
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .build::<_, B>(http);
    let authority: Authority = upstream.to_string().parse().unwrap();
    ServiceBuilder::new()
        .map_request(move |mut request: http::Request<B>| {
            let mut target = std::mem::take(request.uri_mut()).into_parts();
            target.scheme = Some(Scheme::HTTP);
            target.authority = Some(authority.clone());
            *request.uri_mut() = Uri::from_parts(target).expect("clients send a path");
            request
        })
        .layer(HandleErrorLayer::new(|error: legacy::Error| async move {
            (StatusCode::BAD_GATEWAY, error.to_string())
        }))
        .service(client)
}

async fn serve<S>(service: S)
where
    S: Service<Request, Response: IntoResponse, Error = Infallible, Future: Send + 'static>,
    S: Clone + Send + Sync + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap());
    // What the router puts there is for handlers, and the layer would keep a clone.
    let service = ServiceBuilder::new()
        .map_request(|mut request: Request| {
            std::mem::take(request.extensions_mut());
            request
        })
        .service(service);
    let router = Router::new().fallback_service(service);
    axum::serve(listener, router).await.unwrap();
}
