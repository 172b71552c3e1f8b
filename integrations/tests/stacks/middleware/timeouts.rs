//! A timeout above is for the request, one beneath for each attempt. Time stands still: the
//! provider is in process.

use std::time::Duration;

use axum::Router;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt};
use tower_http::map_request_body::MapRequestBodyLayer;
use tower_http::timeout::{
    RequestBodyTimeoutLayer, ResponseBodyTimeoutLayer, TimeoutBody, TimeoutLayer,
};
use tower_key_failover::KeyFailoverLayer;
use tower_key_failover::RequestBody;
use tower_key_failover::policy::Provider;
use tower_key_failover::pool::KeyState;

use crate::support::{Body, Seen, assert_shareable, failover, pool, provider, text};

fn timeout() -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(1))
}

/// Two attempts at this are longer than the timeout, each alone is not.
fn slow() -> Request<Body> {
    let request = Request::post("/v1/messages").header("x-delay-ms", "600");
    request.body(Full::from("a question")).unwrap()
}

fn to(path: &str) -> Request<Body> {
    Request::post(path).body(Full::from("a question")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_timeout_above_bounds_all_attempts_together() {
    let (seen, pool) = (Seen::default(), pool(["limited", "good"]));
    let service = ServiceBuilder::new()
        .layer(timeout())
        .layer(failover(&pool))
        .service(provider(&seen));
    assert_shareable::<_, Request<Body>>(&service);

    let response = service.oneshot(slow()).await.unwrap();

    assert_eq!(response.status(), 504);
    assert_eq!(seen.keys(), ["limited", "good"]);
    // What was learned on the way stays learned.
    assert!(matches!(
        pool.states()[..],
        [KeyState::Temporary { .. }, KeyState::Valid]
    ));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_below_bounds_each_attempt_alone() {
    let (seen, pool) = (Seen::default(), pool(["limited", "good"]));
    let service = ServiceBuilder::new()
        .layer(failover(&pool))
        .layer(timeout())
        .service(provider(&seen));
    assert_shareable::<_, Request<Body>>(&service);

    let response = service.oneshot(slow()).await.unwrap();

    assert_eq!(response.status(), 200);
    assert_eq!(text(response).await, "a question");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_timed_out_is_returned_and_does_not_mark_the_key() {
    let (seen, pool) = (Seen::default(), pool(["silent", "good"]));
    let service = ServiceBuilder::new()
        .layer(failover(&pool))
        .layer(timeout())
        .service(provider(&seen));

    let response = service.oneshot(to("/v1/messages")).await.unwrap();

    assert_eq!(response.status(), 504);
    assert_eq!(seen.keys(), ["silent"]);
    assert_eq!(pool.states(), [KeyState::Valid, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn a_response_body_timeout_below_ends_a_stalled_response() {
    let seen = Seen::default();
    let service = ServiceBuilder::new()
        .layer(failover(&pool(["limited", "good"])))
        .layer(ResponseBodyTimeoutLayer::new(Duration::from_secs(1)))
        .service(provider(&seen));
    assert_shareable::<_, Request<Body>>(&service);

    let response = service.oneshot(to("/stalls")).await.unwrap();

    assert_eq!(response.status(), 200);
    // Its body is not `Unpin`, and neither is what the caller gets.
    let mut body = std::pin::pin!(response.into_body());
    let first = body.as_mut().frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "begun");
    body.as_mut().frame().await.unwrap().unwrap_err();
    assert_eq!(seen.keys(), ["limited", "good"]);
}

#[tokio::test(start_paused = true)]
async fn a_response_body_timeout_below_is_dropped_with_an_inspected_refusal() {
    let service = ServiceBuilder::new()
        .layer(KeyFailoverLayer::new(
            Provider::anthropic(),
            pool(["first", "second"]),
        ))
        .layer(ResponseBodyTimeoutLayer::new(Duration::from_secs(1)))
        .service(Router::new().fallback(not_this_model));

    let response = service.oneshot(to("/v1/messages")).await.unwrap();

    assert_eq!(response.status(), 403);
    assert_eq!(response.body().failover().unwrap().attempts(), 2);
    assert_eq!(text(response).await, NOT_THIS_MODEL);
}

const NOT_THIS_MODEL: &str =
    r#"{"type":"error","error":{"type":"permission_error","message":"not this model"}}"#;

async fn not_this_model() -> (StatusCode, &'static str) {
    (StatusCode::FORBIDDEN, NOT_THIS_MODEL)
}

#[tokio::test(start_paused = true)]
async fn a_response_body_timeout_below_ends_a_stalled_refusal() {
    let wait = Duration::from_millis(100);
    let policy = Provider::anthropic();
    let service = ServiceBuilder::new()
        .layer(KeyFailoverLayer::new(policy, pool(["first", "second"])))
        .layer(ResponseBodyTimeoutLayer::new(wait))
        .service(Router::new().fallback(|| async {
            let stall = futures_util::stream::pending::<Result<&str, std::io::Error>>();
            (StatusCode::FORBIDDEN, axum::body::Body::from_stream(stall))
        }));

    let begun = Instant::now();
    let response = service.oneshot(to("/v1/messages")).await.unwrap();

    assert_eq!(response.body().failover().unwrap().attempts(), 2);
    let waited = Instant::now().saturating_duration_since(begun);
    // Not the whole second that the layer would have waited for each.
    assert!(waited < 3 * wait, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_body_timeout_below_counts_each_attempt_separately() {
    let seen = Seen::default();
    let service = ServiceBuilder::new()
        .layer(failover(&pool(["limited", "good"])))
        .layer(RequestBodyTimeoutLayer::new(Duration::from_secs(1)))
        .layer(MapRequestBodyLayer::new(
            axum::body::Body::new::<TimeoutBody<RequestBody<Body>>>,
        ))
        .service(provider(&seen));
    assert_shareable::<_, Request<Body>>(&service);

    let response = service.oneshot(slow()).await.unwrap();

    assert_eq!(text(response).await, "a question");
}

#[tokio::test(start_paused = true)]
async fn a_request_body_timeout_above_works_with_a_pinned_body() {
    let seen = Seen::default();
    let service = ServiceBuilder::new()
        .layer(RequestBodyTimeoutLayer::new(Duration::from_secs(1)))
        .layer(MapRequestBodyLayer::new(|body: TimeoutBody<Body>| {
            Box::pin(body)
        }))
        .layer(failover(&pool(["limited", "good"])))
        .service(provider(&seen));
    assert_shareable::<_, Request<Body>>(&service);

    let response = service.oneshot(slow()).await.unwrap();

    assert_eq!(text(response).await, "a question");
}
