use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_key_failover::policy::Provider;
use tower_key_failover::{KeyFailoverLayer, KeyPool, KeyState, RequestBody};
use tower_test::mock;

type Body = Full<Bytes>;
type Attempt = Request<RequestBody<Body>>;

fn request() -> Request<Body> {
    let request = Request::post("https://provider.test/v1/messages");
    request.body(Body::from("a question")).unwrap()
}

fn response(status: u16, body: &'static str) -> Response<Body> {
    let response = Response::builder().status(status);
    response.body(Body::from(body)).unwrap()
}

/// A provider that responds by key, for any number of requests.
#[tokio::test]
async fn a_revoked_key_is_replaced_by_the_next_one() {
    let pool = std::sync::Arc::new(KeyPool::new(["revoked", "good"]).unwrap());
    let provider = service_fn(|attempt: Attempt| async move {
        match attempt.headers()["x-api-key"].to_str() {
            Ok("good") => Ok::<_, std::io::Error>(response(200, "a reply")),
            _ => Ok(response(401, "")),
        }
    });
    let service = ServiceBuilder::new()
        .layer(KeyFailoverLayer::new(Provider::anthropic(), pool.clone()))
        .service(provider);

    let response = service.oneshot(request()).await.unwrap();

    assert_eq!(response.status(), 200);
    assert_eq!(response.body().failover().unwrap().attempts(), 2);
    assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);
}

/// A script: the test receives each attempt and decides how the provider responds.
#[tokio::test]
async fn the_next_attempt_has_the_same_body() {
    let (provider, mut attempts) = mock::pair::<Attempt, Response<Body>>();
    let pool = KeyPool::new(["first", "second"]).unwrap();
    let service = ServiceBuilder::new()
        .layer(KeyFailoverLayer::new(Provider::anthropic(), pool))
        .service(provider);
    let response_to_caller = tokio::spawn(service.oneshot(request()));

    for (key, status) in [("first", 429), ("second", 200)] {
        let (attempt, reply) = attempts.next_request().await.unwrap();
        assert_eq!(attempt.headers()["x-api-key"], key);
        let body = attempt.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), "a question");
        reply.send_response(response(status, ""));
    }

    assert_eq!(response_to_caller.await.unwrap().unwrap().status(), 200);
}

/// Paused time: a test of a cooldown takes no time.
#[tokio::test(start_paused = true)]
async fn a_rate_limited_key_returns_after_its_cooldown() {
    let pool = KeyPool::new(["first", "second"]).unwrap();
    let first = pool.keys().next().unwrap();

    first.mark_temporary(Some(Duration::from_secs(30)));
    tokio::time::advance(Duration::from_secs(29)).await;
    assert!(matches!(first.state(), KeyState::Temporary { .. }));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(first.state(), KeyState::Valid);
}

/// What the caller receives if no key is left. No provider is needed for it.
#[tokio::test]
async fn a_caller_learns_that_no_key_is_left() {
    let pool = KeyPool::new(["first", "second"]).unwrap();
    for key in pool.keys() {
        key.mark_temporary(Some(Duration::from_secs(30)));
    }
    let (provider, _attempts) = mock::pair::<Attempt, Response<Body>>();
    let service = ServiceBuilder::new()
        .layer(KeyFailoverLayer::new(Provider::anthropic(), pool))
        .service(provider);

    let response = service.oneshot(request()).await.unwrap();

    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "30");
}
