//! axum: a proxy as the router's fallback, and the layer over handlers.

use std::convert::Infallible;

use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{any, post};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_key_failover::{FailoverInfo, RequestBody};

use crate::support::{
    self, Body, HttpClient, Seen, Upstream, assert_shareable, client, failover, pool, provider,
    serve, text, within,
};

/// A proxy that sends everything to `upstream`.
fn proxy(upstream: &Upstream, keys: [&'static str; 2]) -> Router {
    let authority = upstream.address;
    let service = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(|_| async { StatusCode::BAD_GATEWAY }))
        .map_request(move |mut request: Request| {
            let path = request.uri().path_and_query().unwrap();
            *request.uri_mut() = format!("http://{authority}{path}").parse().unwrap();
            request
        })
        .layer(failover(&pool(keys)))
        .service(client());
    Router::new()
        .route("/health", any(|| async { "up" }))
        .fallback_service(service)
}

#[tokio::test]
async fn a_proxy_as_the_fallback_fails_over() {
    let upstream = Upstream::start().await;
    let (gateway, _task) = serve(proxy(&upstream, ["limited", "good"])).await;

    let request = http::Request::post(format!("http://{gateway}/v1/messages"));
    let request = request.body(Full::from("a question")).unwrap();
    let response = within(client::<Body>().request(request)).await.unwrap();

    assert_eq!(response.status(), 200);
    assert_eq!(text(response).await, "a question");
    assert_eq!(upstream.seen.keys(), ["limited", "good"]);
}

#[tokio::test]
async fn a_proxy_as_the_fallback_leaves_other_routes_alone() {
    let upstream = Upstream::start().await;
    let (gateway, _task) = serve(proxy(&upstream, ["limited", "good"])).await;

    let request = http::Request::get(format!("http://{gateway}/health"));
    let request = request.body(Full::default()).unwrap();
    let response = within(client::<Body>().request(request)).await.unwrap();

    assert_eq!(text(response).await, "up");
    assert!(upstream.seen.heads().is_empty());
}

#[tokio::test]
async fn a_proxy_that_cannot_reach_its_upstream_responds_with_an_error() {
    let mut upstream = Upstream::start().await;
    let listener = support::listen().await;
    upstream.address = listener.local_addr().unwrap();
    drop(listener);

    let request = http::Request::post("/v1/messages").body(axum::body::Body::empty());
    let response = proxy(&upstream, ["first", "second"]).oneshot(request.unwrap());

    assert_eq!(within(response).await.unwrap().status(), 502);
}

#[tokio::test]
async fn a_proxy_streams_the_upload_and_the_response_of_a_later_attempt() {
    let upstream = Upstream::start().await;
    let (gateway, _task) = serve(proxy(&upstream, ["limited", "good"])).await;

    let (mut upload, body) = Channel::<Bytes>::new(1);
    let request = http::Request::post(format!("http://{gateway}/v1/messages"));
    let request = request.body(body).unwrap();
    upload.send_data(Bytes::from("one")).await.unwrap();

    let response = within(client().request(request)).await.unwrap();
    let mut download = response.into_body();
    assert_eq!(next(&mut download).await, "one");

    upload.send_data(Bytes::from("two")).await.unwrap();
    assert_eq!(next(&mut download).await, "two");
    drop(upload);
    assert_eq!(text(download).await, "");
}

async fn next(body: &mut hyper::body::Incoming) -> Bytes {
    let frame = within(body.frame()).await.unwrap().unwrap();
    frame.into_data().unwrap()
}

#[tokio::test]
async fn a_layer_of_a_router_fails_over_between_calls_of_its_handler() {
    let seen = Seen::default();
    let app = Router::new()
        .route("/v1/messages", post(handler))
        .layer(failover(&pool(["limited", "good"])))
        .fallback_service(provider(&seen));
    let (address, _task) = serve(app).await;

    let request = http::Request::post(format!("http://{address}/v1/messages"));
    let request = request.body(Full::from("a question")).unwrap();
    let response = within(client::<Body>().request(request)).await.unwrap();

    assert_eq!(response.status(), 200);
    assert_eq!(text(response).await, "good was asked: a question");
    assert!(seen.heads().is_empty());
}

async fn handler(headers: http::HeaderMap, question: String) -> Response<String> {
    let key = support::key_of(&headers);
    let response = Response::builder().status(if key == "good" { 200 } else { 429 });
    response
        .body(format!("{key} was asked: {question}"))
        .unwrap()
}

#[tokio::test]
async fn the_response_extensions_tell_an_outer_layer_about_the_failover() {
    let app = Router::new()
        .fallback_service(provider(&Seen::default()))
        .layer(failover(&pool(["revoked", "good"])));

    let request = http::Request::post("/v1/messages").body(axum::body::Body::empty());
    let response = app.oneshot(request.unwrap()).await.unwrap();

    // axum boxes the body, and what it could be asked with it: the extension stays.
    let info: &FailoverInfo = response.extensions().get().unwrap();
    assert_eq!(info.attempts(), 2);
}

#[tokio::test]
async fn the_service_and_its_future_can_be_shared_over_axums_types() {
    let layer = failover(&pool(["first", "second"]));
    assert_shareable::<_, Request>(&layer.layer(provider(&Seen::default())));
    let client: HttpClient<RequestBody<axum::body::Body>> = client();
    assert_shareable::<_, Request>(&layer.layer(client));

    // A service that cannot fail still cannot.
    let infallible = layer.layer(provider(&Seen::default()));
    let response = infallible.oneshot(Request::new(axum::body::Body::empty()));
    let Ok::<_, Infallible>(_) = response.await;
}
