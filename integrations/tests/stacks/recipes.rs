//! The recipes of the guide `stacks`, as its readers see them. Each one sends a request.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tower::load_shed::error::Overloaded;
use tower::retry::Policy;
use tower::{Service, ServiceExt};
use tower_key_failover::pool::KeyState;
use tower_key_failover::{KeyFailoverLayer, Outcome};

use crate::hyper_client::{start_tls, trusting};
use crate::support::{
    Body, Upstream, assert_shareable, client, failover, listen, pool, serve, text, within,
};

#[path = "../../../src/docs/stacks/axum.rs"]
mod axum;
#[path = "../../../src/docs/stacks/connection.rs"]
pub mod connection;
#[path = "../../../src/docs/stacks/https.rs"]
mod https;
#[path = "../../../src/docs/stacks/layers.rs"]
mod layers;
#[path = "../../../src/docs/stacks/load_shed.rs"]
mod load_shed;
#[path = "../../../src/docs/stacks/reqwest.rs"]
mod reqwest;
#[path = "../../../src/docs/stacks/retry.rs"]
mod retry;

mod reqwest_012 {
    use ::reqwest_012 as reqwest;

    include!("../../../src/docs/stacks/reqwest.rs");
}

/// Sends a request whose first key is rate-limited.
async fn fail_over<S, R>(service: S, upstream: &Upstream)
where
    S: Service<Request<Body>, Response = Response<R>, Error: std::fmt::Debug>,
    R: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let response = within(service.oneshot(upstream.post("a question"))).await;
    let response = response.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(text(response).await, "a question");
    assert_eq!(upstream.seen.keys(), ["limited", "good"]);
}

fn limited_and_good() -> KeyFailoverLayer<tower_key_failover::policy::Provider> {
    failover(&pool(["limited", "good"]))
}

#[tokio::test]
async fn the_https_recipe_fails_over_on_a_tls_server() {
    let (upstream, certificate) = start_tls().await;
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(trusting(certificate))
        .https_only()
        .enable_all_versions()
        .build();
    let keys = ["limited", "good"].map(str::to_owned);
    let client = https::client(connector, keys).unwrap();
    assert_shareable::<_, Request<Body>>(&client);
    fail_over(client, &upstream).await;
}

#[tokio::test]
async fn the_https_recipe_trusts_no_unknown_server() {
    let (upstream, _) = start_tls().await;
    let keys = ["first", "second"].map(str::to_owned);
    let client = https::client(https::connector(), keys).unwrap();
    let refused = within(client.oneshot(upstream.post("a question"))).await;
    assert!(refused.unwrap_err().is_connect());
    assert!(upstream.seen.heads().is_empty());
}

#[tokio::test]
async fn the_recipe_with_all_layers_fails_over() {
    let upstream = Upstream::start().await;
    let service = layers::stack(limited_and_good(), client());
    assert_shareable::<_, Request<Body>>(&service);
    let response = within(service.oneshot(upstream.post("a question"))).await;
    assert_eq!(response.unwrap().status(), 200);
    assert_eq!(upstream.seen.keys(), ["limited", "good"]);
}

async fn start_proxy(upstream: SocketAddr) -> SocketAddr {
    let provider = (
        http::uri::Scheme::HTTP,
        upstream.to_string().parse().unwrap(),
    );
    let token = "Bearer client-token".parse().unwrap();
    let proxy = axum::proxy(limited_and_good(), HttpConnector::new(), provider, token);
    serve(proxy).await.0
}

fn to_proxy(proxy: SocketAddr, token: &str) -> Request<Body> {
    Request::post(format!("http://{proxy}/v1/messages?beta=true"))
        .header("authorization", token)
        .body(Full::from("a question"))
        .unwrap()
}

#[tokio::test]
async fn the_axum_recipe_fails_over_for_clients_with_a_token() {
    let upstream = Upstream::start().await;
    let proxy = start_proxy(upstream.address).await;
    let request = to_proxy(proxy, "Bearer client-token");
    let response = within(client::<Body>().request(request)).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(text(response.into_body()).await, "a question");
    assert_eq!(upstream.seen.keys(), ["limited", "good"]);
    assert_eq!(upstream.seen.heads()[1].uri, "/v1/messages?beta=true");
}

#[tokio::test]
async fn the_axum_recipe_rejects_clients_without_the_token() {
    let upstream = Upstream::start().await;
    let proxy = start_proxy(upstream.address).await;
    let request = to_proxy(proxy, "Bearer other");
    let response = within(client::<Body>().request(request)).await.unwrap();
    assert_eq!(response.status(), 401);
    assert!(upstream.seen.heads().is_empty());
}

#[tokio::test]
async fn the_axum_recipe_responds_if_the_provider_cannot_be_reached() {
    let listener = listen().await;
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let proxy = start_proxy(nobody).await;
    let request = to_proxy(proxy, "Bearer client-token");
    let response = within(client::<Body>().request(request)).await.unwrap();
    assert_eq!(response.status(), 502);
}

#[tokio::test]
async fn the_retry_recipe_repeats_a_request_after_a_server_error() {
    let upstream = Upstream::start().await;
    let service = retry::stack(limited_and_good(), HttpConnector::new());
    assert_shareable(&service);
    let mut request = upstream.post("a question");
    *request.uri_mut() = upstream.uri("/down-at-second").parse().unwrap();
    let response = within(service.oneshot(request)).await.unwrap();
    assert_eq!(text(response).await, "a question");
    assert_eq!(upstream.seen.keys(), ["limited", "good", "good"]);
}

#[tokio::test]
async fn the_retry_recipe_does_not_repeat_the_layers_own_502() {
    let upstream = Upstream::start().await;
    let pool = pool(["revoked", "revoked-too"]);
    for key in pool.keys() {
        key.mark_permanent();
    }
    let service = retry::stack(failover(&pool), HttpConnector::new());
    let mut request = upstream.post("a question");
    let mut result = within(service.oneshot(request.clone())).await;
    let response = result.as_ref().unwrap();
    assert_eq!(response.status(), 502);
    let info = response.body().failover().unwrap();
    assert_eq!(info.outcome(), Outcome::Exhausted);
    let mut policy = retry::ServerErrors { retries: 2 };
    assert!(policy.retry(&mut request, &mut result).is_none());
}

#[tokio::test]
async fn the_retry_recipe_gives_up_after_its_last_retry() {
    let listener = listen().await;
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let pool = pool(["first", "second"]);
    let service = retry::stack(failover(&pool), HttpConnector::new());
    let request = Request::post(format!("http://{nobody}/")).body(Body::from("a question"));
    let failed = within(service.oneshot(request.unwrap())).await;
    assert!(failed.unwrap_err().is_connect());
    assert_eq!(pool.states(), [KeyState::Valid, KeyState::Valid]);
}

#[tokio::test]
async fn the_load_shed_recipe_fails_over() {
    let upstream = Upstream::start().await;
    let service = load_shed::stack(limited_and_good(), client(), 100);
    fail_over(service, &upstream).await;
}

#[tokio::test]
async fn the_load_shed_recipe_rejects_requests_above_its_limit() {
    let upstream = Upstream::start().await;
    let mut service = load_shed::stack(limited_and_good(), client(), 1);
    let held = within(service.ready())
        .await
        .unwrap()
        .call(upstream.post("a question"));
    let shed = within(service.ready())
        .await
        .unwrap()
        .call(upstream.post("a question"));
    let Err(error) = within(shed).await else {
        panic!("it is above the limit");
    };
    assert!(error.is::<Overloaded>());
    drop(held);
}

#[tokio::test]
async fn the_connection_recipe_fails_over_on_http2() {
    let upstream = Upstream::start().await;
    let stream = TokioIo::new(TcpStream::connect(upstream.address).await.unwrap());
    let handshake = http2::handshake(TokioExecutor::new(), stream).await;
    let (sender, connection) = handshake.unwrap();
    tokio::spawn(connection);
    let service = connection::over_http2::<_, Body>(limited_and_good(), sender);
    assert_shareable::<_, Request<Body>>(&service);
    fail_over(service, &upstream).await;
}

#[tokio::test]
async fn the_connection_recipe_fails_over_on_http1() {
    let upstream = Upstream::start().await;
    let stream = TokioIo::new(TcpStream::connect(upstream.address).await.unwrap());
    let (sender, connection) = http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let service = connection::over_http1(limited_and_good(), sender);
    fail_over(service, &upstream).await;
}

#[tokio::test]
async fn the_reqwest_recipe_fails_over_with_reqwest_0_13() {
    let upstream = Upstream::start().await;
    let service = reqwest::stack(limited_and_good()).unwrap();
    assert_shareable::<_, Request<Body>>(&service);
    fail_over(service, &upstream).await;
}

#[tokio::test]
async fn the_reqwest_recipe_fails_over_with_reqwest_0_12() {
    let upstream = Upstream::start().await;
    let service = reqwest_012::stack(limited_and_good()).unwrap();
    assert_shareable::<_, Request<Body>>(&service);
    fail_over(service, &upstream).await;
}
