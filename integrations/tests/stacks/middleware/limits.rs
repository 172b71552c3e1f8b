//! Back-pressure: concurrency limits, buffers and load shedding.

use http::Request;
use tokio_test::{assert_pending, task};
use tower::load_shed::error::Overloaded;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
use tower_key_failover::RequestBody;
use tower_key_failover::pool::KeyState;

use crate::support::{
    Body, Seen, Upstream, assert_shareable, client, failover, pool, provider, ready, text, within,
};

fn question() -> Request<Body> {
    Request::post("/v1/messages")
        .body("a question".into())
        .unwrap()
}

/// A request that the provider never responds to.
fn without_response() -> Request<Body> {
    let request = Request::post("/v1/messages").header("authorization", "Bearer silent");
    request.body("a question".into()).unwrap()
}

#[tokio::test]
async fn a_concurrency_limit_below_gets_its_permit_back_between_attempts() {
    let upstream = Upstream::start().await;
    let service = ServiceBuilder::new()
        .layer(failover(&pool(["limited", "revoked", "good"])))
        .concurrency_limit(1)
        .service(client::<RequestBody<Body>>());
    assert_shareable(&service);

    let response = within(service.oneshot(upstream.post("a question")))
        .await
        .unwrap();

    assert_eq!(text(response).await, "a question");
    assert_eq!(upstream.seen.keys(), ["limited", "revoked", "good"]);
}

#[tokio::test]
async fn a_concurrency_limit_below_makes_a_later_attempt_wait_for_its_turn() {
    let seen = Seen::default();
    let mut service = ServiceBuilder::new()
        .layer(failover(&pool(["limited", "good"])))
        .concurrency_limit(1)
        .service(provider(&seen));
    let mut rival = service.clone();

    // The rival is next in line when the first attempt is refused.
    let first = ready(&mut service).await.call(question());
    let mut waiting = task::spawn(ready(&mut rival));
    assert_pending!(waiting.poll());
    let mut first = task::spawn(first);
    assert_pending!(first.poll());
    assert_eq!(seen.keys(), ["limited"]);

    assert!(waiting.is_woken());
    let rival = within(waiting).await;
    let response = within(rival.call(question())).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(within(first).await.unwrap().status(), 200);
    assert_eq!(seen.keys(), ["limited", "good", "good"]);
}

#[tokio::test]
async fn a_concurrency_limit_above_is_held_through_all_attempts() {
    let seen = Seen::default();
    let mut service = ServiceBuilder::new()
        .concurrency_limit(1)
        .layer(failover(&pool(["limited", "silent"])))
        .service(provider(&seen));
    assert_shareable::<_, Request<Body>>(&service);
    let mut rival = service.clone();

    let mut first = task::spawn(ready(&mut service).await.call(question()));
    let mut waiting = task::spawn(ready(&mut rival));
    assert_pending!(first.poll());
    assert_pending!(waiting.poll());
    assert_eq!(seen.keys(), ["limited", "silent"]);

    drop(first);
    assert!(waiting.is_woken());
}

#[tokio::test]
async fn a_buffer_above_queues_requests() {
    let upstream = Upstream::start().await;
    let service = ServiceBuilder::new()
        .buffer(4)
        .layer(failover(&pool(["limited", "good"])))
        .service(client::<RequestBody<Body>>());
    assert_shareable(&service);

    let response = within(service.oneshot(upstream.post("a question")))
        .await
        .unwrap();

    assert_eq!(text(response).await, "a question");
}

#[tokio::test]
async fn a_buffer_below_queues_attempts() {
    let upstream = Upstream::start().await;
    let service = ServiceBuilder::new()
        .layer(failover(&pool(["limited", "good"])))
        .buffer(1)
        .service(client::<RequestBody<Body>>());
    assert_shareable(&service);

    let response = within(service.oneshot(upstream.post("a question")))
        .await
        .unwrap();

    assert_eq!(text(response).await, "a question");
    assert_eq!(upstream.seen.keys(), ["limited", "good"]);
}

#[tokio::test]
async fn load_shed_above_sheds_requests() {
    let seen = Seen::default();
    let mut service = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(1)
        .layer(failover(&pool(["limited", "good"])))
        .service(provider(&seen));
    assert_shareable::<_, Request<Body>>(&service);

    let held = ready(&mut service).await.call(without_response());
    let shed = within(ready(&mut service).await.call(question())).await;
    assert!(shed.unwrap_err().is::<Overloaded>());

    drop(held);
    let response = within(service.oneshot(question())).await.unwrap();
    assert_eq!(text(response).await, "a question");
}

#[tokio::test]
async fn load_shed_below_sheds_an_attempt_without_marking_a_key() {
    let (seen, pool) = (Seen::default(), pool(["limited", "good"]));
    let mut service = ServiceBuilder::new()
        .layer(failover(&pool))
        .load_shed()
        .concurrency_limit(1)
        .service(provider(&seen));
    assert_shareable::<_, Request<Body>>(&service);

    let held = ready(&mut service).await.call(without_response());
    let shed: Result<_, BoxError> = within(ready(&mut service).await.call(question())).await;
    assert!(shed.unwrap_err().is::<Overloaded>());
    assert_eq!(pool.states(), [KeyState::Valid, KeyState::Valid]);

    drop(held);
    let response = within(service.oneshot(question())).await.unwrap();
    assert_eq!(text(response).await, "a question");
    assert_eq!(seen.keys(), ["limited", "good"]);
}

#[tokio::test]
async fn load_shed_below_sheds_a_later_attempt_if_another_request_was_faster() {
    let seen = Seen::default();
    let limited = ServiceBuilder::new()
        .concurrency_limit(1)
        .service(provider(&seen));
    let mut rival = limited.clone();
    let mut service = ServiceBuilder::new()
        .layer(failover(&pool(["limited", "good"])))
        .load_shed()
        .service(limited);

    let first = ready(&mut service).await.call(question());
    let mut waiting = task::spawn(ready(&mut rival));
    assert_pending!(waiting.poll());

    let shed: Result<_, BoxError> = within(first).await;
    assert!(shed.unwrap_err().is::<Overloaded>());
    assert!(waiting.is_woken());
    assert_eq!(seen.keys(), ["limited"]);
}
