//! reqwest, through the adapter that the example shows.

use std::error::Error;

use axum::Router;
use axum::response::Redirect;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_key_failover::policy::Provider;
use tower_key_failover::pool::KeyState;
use tower_key_failover::{KeyFailover, RequestBody};

use self::example::Reqwest;
use crate::support::{
    Body, Upstream, assert_shareable, failover, listen, pool, serve, text, within,
};

#[allow(dead_code)]
#[path = "../../examples/reqwest_client.rs"]
mod example;

/// A client past any proxy, that follows no redirects.
fn direct() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy();
    let client = client.redirect(reqwest::redirect::Policy::none());
    client.build().unwrap()
}

fn service(keys: [&'static str; 2]) -> KeyFailover<Reqwest, Provider> {
    failover(&pool(keys)).layer(Reqwest(direct()))
}

#[tokio::test]
async fn reqwest_fails_over() {
    let upstream = Upstream::start().await;
    let service = service(["limited", "good"]);
    assert_shareable::<_, Request<Body>>(&service);

    let response = within(service.oneshot(upstream.post("a question")))
        .await
        .unwrap();

    assert_eq!(text(response).await, "a question");
    assert_eq!(upstream.seen.keys(), ["limited", "good"]);
    let heads = upstream.seen.heads();
    assert_eq!(heads[1].headers["content-length"], "10");
}

#[tokio::test]
async fn bodies_stream_through_reqwest_in_both_directions() {
    let upstream = Upstream::start().await;
    let (mut upload, body) = Channel::<Bytes>::new(1);
    upload.send_data(Bytes::from("one")).await.unwrap();
    let request = Request::post(upstream.uri("/v1/messages")).body(body);
    let client = reqwest::Client::builder().no_proxy();
    let client = client.http2_prior_knowledge().build();
    let service = failover(&pool(["limited", "good"])).layer(Reqwest(client.unwrap()));

    let response = within(service.oneshot(request.unwrap())).await.unwrap();
    let mut download = response.into_body();
    let first = within(download.frame()).await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "one");

    upload.send_data(Bytes::from("two")).await.unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "6".parse().unwrap());
    upload.send_trailers(trailers).await.unwrap();
    drop(upload);
    let rest = within(download.collect()).await.unwrap();
    assert_eq!(
        rest.trailers().map(|trailers| &trailers["x-sum"]),
        Some(&"6".parse().unwrap())
    );
    assert_eq!(rest.to_bytes(), "two");
}

#[tokio::test]
async fn a_body_that_is_not_sync_can_be_sent_as_a_stream() {
    let upstream = Upstream::start().await;
    let service = ServiceBuilder::new()
        .layer(failover(&pool(["limited", "good"])))
        .map_request(|request: Request<RequestBody<axum::body::Body>>| {
            request.map(|body| reqwest::Body::wrap_stream(body.into_data_stream()))
        })
        .service(Reqwest(direct()));
    assert_shareable::<_, Request<axum::body::Body>>(&service);

    let request = upstream.post("a question").map(axum::body::Body::new);
    let response = within(service.oneshot(request)).await.unwrap();

    assert_eq!(text(response).await, "a question");
    assert_eq!(upstream.seen.keys(), ["limited", "good"]);
}

#[tokio::test]
async fn an_unreachable_provider_is_reported_as_an_error_of_reqwest() {
    let listener = listen().await;
    let address = listener.local_addr().unwrap();
    drop(listener);
    let service = service(["first", "second"]);

    let request = Request::post(format!("http://{address}/")).body(Body::default());
    let error = within(service.oneshot(request.unwrap())).await.unwrap_err();

    assert!(error.is_connect());
}

#[tokio::test]
async fn a_request_without_a_host_is_an_error_of_reqwest_and_marks_no_key() {
    let pool = pool(["first", "second"]);
    let service = failover(&pool).layer(Reqwest(direct()));

    let request = Request::post("/v1/messages").body(Body::default()).unwrap();
    let error: reqwest::Error = within(service.oneshot(request)).await.unwrap_err();

    assert!(error.is_builder(), "{error:?}");
    assert_eq!(pool.states(), [KeyState::Valid, KeyState::Valid]);
}

#[tokio::test]
async fn the_error_of_a_failed_request_body_is_among_the_sources() {
    let upstream = Upstream::start().await;
    let (upload, body) = Channel::<Bytes, std::io::Error>::new(1);
    upload.abort(std::io::Error::other("the disk is gone"));
    let request = Request::post(upstream.uri("/v1/messages"))
        .body(body)
        .unwrap();

    let error = within(service(["good", "better"]).oneshot(request))
        .await
        .unwrap_err();

    let mut sources = std::iter::successors(Some(&error as &dyn Error), |&error| error.source());
    assert!(
        sources.any(|error| error.to_string() == "the disk is gone"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_redirect_is_left_to_the_caller() {
    let elsewhere = Upstream::start().await;
    let target = elsewhere.uri("/");
    let router = Router::new().fallback(|| async move { Redirect::to(&target) });
    let (address, _task) = serve(router).await;

    let request = Request::post(format!("http://{address}/")).body(Body::default());
    let response = within(service(["first", "second"]).oneshot(request.unwrap())).await;

    assert_eq!(response.unwrap().status(), 303);
    assert!(elsewhere.seen.heads().is_empty());
}
