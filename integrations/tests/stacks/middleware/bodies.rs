//! Layers that change bodies: compression, decompression, and a limit.

use std::io::Read;

use axum::Router;
use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{Request, StatusCode};
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Full};
use tower::{ServiceBuilder, ServiceExt};
use tower_http::compression::CompressionLayer;
use tower_http::decompression::DecompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_key_failover::policy::Provider;
use tower_key_failover::pool::KeyState;
use tower_key_failover::{KeyFailoverLayer, RequestBody};

use crate::support::{
    Body, Seen, Upstream, assert_shareable, client, failover, pool, provider, text, within,
};

const QUESTION: &str = "a question that is long enough to be worth its compression";

#[tokio::test]
async fn compression_above_compresses_the_response_of_a_later_attempt() {
    let upstream = Upstream::start().await;
    let service = ServiceBuilder::new()
        .layer(CompressionLayer::new())
        .layer(failover(&pool(["limited", "good"])))
        .service(client::<RequestBody<Body>>());
    assert_shareable(&service);

    let mut request = upstream.post(QUESTION);
    request
        .headers_mut()
        .insert("accept-encoding", "gzip".parse().unwrap());
    let response = within(service.oneshot(request)).await.unwrap();

    assert_eq!(response.headers()["content-encoding"], "gzip");
    let packed = within(response.into_body().collect())
        .await
        .unwrap()
        .to_bytes();
    let mut decoded = String::new();
    GzDecoder::new(&packed[..])
        .read_to_string(&mut decoded)
        .unwrap();
    assert_eq!(decoded, QUESTION);
}

/// Refuses every key for this model alone.
fn not_this_model() -> Router {
    let body = r#"{"type":"error","error":{"type":"permission_error","message":"not this model"}}"#;
    Router::new().fallback(move || async move { (StatusCode::FORBIDDEN, body) })
}

fn packed_question() -> Request<Body> {
    let request = Request::post("/v1/messages").header("accept-encoding", "gzip");
    request.body(Full::from(QUESTION)).unwrap()
}

#[tokio::test]
async fn compression_below_does_not_hide_error_bodies() {
    let pool = pool(["first", "second"]);
    let service = ServiceBuilder::new()
        .layer(KeyFailoverLayer::new(Provider::anthropic(), pool.clone()))
        .layer(CompressionLayer::new())
        .service(not_this_model());
    assert_shareable::<_, Request<Body>>(&service);

    let response = within(service.oneshot(packed_question())).await.unwrap();

    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert_eq!(response.body().failover().unwrap().attempts(), 2);
    assert_eq!(pool.states(), [KeyState::Valid, KeyState::Valid]);
}

#[tokio::test]
async fn decompression_below_decodes_error_bodies_and_responses() {
    let pool = pool(["first", "second"]);
    let service = ServiceBuilder::new()
        .layer(KeyFailoverLayer::new(Provider::anthropic(), pool.clone()))
        .layer(DecompressionLayer::new())
        .layer(CompressionLayer::new())
        .service(not_this_model());

    let response = within(service.oneshot(packed_question())).await.unwrap();

    assert_eq!(response.headers().get("content-encoding"), None);
    assert_eq!(pool.states(), [KeyState::Valid, KeyState::Valid]);
    assert!(text(response).await.contains("not this model"));
}

#[tokio::test]
async fn a_body_limit_above_rejects_a_request_before_any_attempt() {
    let upstream = Upstream::start().await;
    let service = ServiceBuilder::new()
        .layer(RequestBodyLimitLayer::new(4))
        .layer(failover(&pool(["limited", "good"])))
        .service(client());
    assert_shareable::<_, Request<Body>>(&service);

    let mut request = upstream.post(QUESTION);
    request
        .headers_mut()
        .insert("content-length", QUESTION.len().into());
    let response = within(service.oneshot(request)).await.unwrap();

    assert_eq!(response.status(), 413);
    assert!(upstream.seen.heads().is_empty());
}

#[tokio::test]
async fn a_body_limit_above_lets_smaller_requests_fail_over() {
    let upstream = Upstream::start().await;
    let service = ServiceBuilder::new()
        .layer(RequestBodyLimitLayer::new(QUESTION.len()))
        .layer(failover(&pool(["limited", "good"])))
        .service(client());

    let response = within(service.oneshot(upstream.post(QUESTION)))
        .await
        .unwrap();

    assert_eq!(text(response).await, QUESTION);
}

#[tokio::test]
async fn a_body_limit_above_ends_an_upload_of_unknown_length_without_another_attempt() {
    let upstream = Upstream::start().await;
    let pool = pool(["first", "second"]);
    let service = ServiceBuilder::new()
        .layer(RequestBodyLimitLayer::new(4))
        .layer(failover(&pool))
        .service(client());

    let (mut upload, body) = Channel::<Bytes>::new(1);
    upload.send_data(Bytes::from(QUESTION)).await.unwrap();
    let request = Request::post(upstream.uri("/v1/messages"))
        .body(body)
        .unwrap();
    let result = within(service.oneshot(request)).await;

    // The upload broke off: whether a response had begun is the client's race. No key is to blame.
    if let Ok(response) = result {
        within(response.into_body().collect()).await.unwrap_err();
    }
    assert_eq!(pool.states(), [KeyState::Valid, KeyState::Valid]);
}

#[tokio::test]
async fn a_body_limit_below_counts_each_attempt_separately() {
    let seen = Seen::default();
    let service = ServiceBuilder::new()
        .layer(failover(&pool(["limited", "revoked", "good"])))
        .layer(RequestBodyLimitLayer::new(QUESTION.len()))
        .service(provider(&seen));
    assert_shareable::<_, Request<Body>>(&service);

    let response = within(service.oneshot(packed_question())).await.unwrap();

    assert_eq!(seen.keys(), ["limited", "revoked", "good"]);
    let body = within(response.into_body().collect()).await.unwrap();
    assert_eq!(body.to_bytes(), QUESTION);
}

#[tokio::test]
async fn a_response_of_a_body_limit_below_is_treated_like_the_providers() {
    let (seen, pool) = (Seen::default(), pool(["first", "second"]));
    let service = ServiceBuilder::new()
        .layer(failover(&pool))
        .layer(RequestBodyLimitLayer::new(4))
        .service(provider(&seen));

    let mut request = packed_question();
    request
        .headers_mut()
        .insert("content-length", QUESTION.len().into());
    let response = within(service.oneshot(request)).await.unwrap();

    assert_eq!(response.status(), 413);
    assert_eq!(response.body().failover().unwrap().attempts(), 1);
    assert_eq!(pool.states(), [KeyState::Valid, KeyState::Valid]);
}
