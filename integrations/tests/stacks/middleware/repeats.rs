//! Retry and hedge: above they repeat requests, beneath they have nothing they could repeat.

use std::future::{Ready, ready};
use std::time::Duration;

use axum::Router;
use http::{Request, Response, StatusCode};
use tower::hedge::Hedge;
use tower::retry::{Policy, RetryLayer};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_key_failover::RequestBody;
use tower_key_failover::pool::KeyState;

use crate::support::{
    Body, Seen, Upstream, assert_shareable, client, failover, pool, provider, text, within,
};

/// Repeats a request once where the server was down or out of reach.
#[derive(Clone, Debug)]
struct Once(Option<()>);

impl<B: Clone, R, E> Policy<Request<B>, Response<R>, E> for Once {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<B>,
        result: &mut Result<Response<R>, E>,
    ) -> Option<Self::Future> {
        let down = match result {
            Ok(response) => response.status() == StatusCode::SERVICE_UNAVAILABLE,
            Err(_) => true,
        };
        if down { self.0.take().map(ready) } else { None }
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}

fn to(upstream: &Upstream, path: &str) -> Request<Body> {
    Request::post(upstream.uri(path))
        .body("a question".into())
        .unwrap()
}

#[tokio::test]
async fn a_retry_above_continues_with_the_remaining_keys() {
    let upstream = Upstream::start().await;
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(Once(Some(()))))
        .layer(failover(&pool(["limited", "good"])))
        .service(client::<RequestBody<Body>>());
    assert_shareable(&service);

    let response = within(service.oneshot(to(&upstream, "/down-at-second")))
        .await
        .unwrap();

    assert_eq!(text(response).await, "a question");
    assert_eq!(upstream.seen.keys(), ["limited", "good", "good"]);
}

#[tokio::test]
async fn a_retry_above_recovers_from_a_broken_connection() {
    let listener = crate::support::listen().await;
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    let router = provider(&seen);
    tokio::spawn(async move {
        drop(listener.accept().await.unwrap());
        axum::serve(listener, router).await.unwrap();
    });
    let pool = pool(["good", "better"]);
    let service = ServiceBuilder::new()
        .layer(RetryLayer::new(Once(Some(()))))
        .layer(failover(&pool))
        .service(client::<RequestBody<Body>>());

    let request = Request::post(format!("http://{address}/")).body("a question".into());
    let response = within(service.oneshot(request.unwrap())).await.unwrap();

    assert_eq!(text(response).await, "a question");
    assert_eq!(pool.states(), [KeyState::Valid, KeyState::Valid]);
}

/// What a policy beneath can do: a [`RequestBody`] is one attempt's, and not to be cloned.
#[derive(Clone, Debug)]
struct Never;

impl<B, R, E> Policy<Request<B>, Response<R>, E> for Never {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<B>,
        _: &mut Result<Response<R>, E>,
    ) -> Option<Self::Future> {
        Some(ready(()))
    }

    fn clone_request(&mut self, _: &Request<B>) -> Option<Request<B>> {
        None
    }
}

#[tokio::test]
async fn a_retry_below_does_not_repeat_refused_attempts() {
    let upstream = Upstream::start().await;
    let service = ServiceBuilder::new()
        .layer(failover(&pool(["limited", "good"])))
        .layer(RetryLayer::new(Never))
        .service(client::<RequestBody<Body>>());
    assert_shareable(&service);

    let response = within(service.oneshot(to(&upstream, "/down-at-second")))
        .await
        .unwrap();

    assert_eq!(response.status(), 503);
    assert_eq!(upstream.seen.keys(), ["limited", "good"]);
}

/// Hedges what can be cloned.
#[derive(Clone, Debug)]
struct Any;

impl tower::hedge::Policy<Request<Body>> for Any {
    fn can_retry(&self, _: &Request<Body>) -> bool {
        true
    }

    fn clone_request(&self, request: &Request<Body>) -> Option<Request<Body>> {
        Some(request.clone())
    }
}

/// Hedges nothing.
impl tower::hedge::Policy<Request<RequestBody<Body>>> for Never {
    fn can_retry(&self, _: &Request<RequestBody<Body>>) -> bool {
        false
    }

    fn clone_request(&self, _: &Request<RequestBody<Body>>) -> Option<Request<RequestBody<Body>>> {
        None
    }
}

const LATENCIES: [u64; 10] = [10; 10];

fn silent_at_first() -> Request<Body> {
    Request::post("/silent-at-first")
        .body("a question".into())
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_hedge_above_sends_a_second_request_through_the_same_pool() {
    let (seen, pool) = (Seen::default(), pool(["limited", "good"]));
    let minute = Duration::from_secs(60);
    let service = failover(&pool).layer(provider(&seen));
    let service = Hedge::new_with_mock_latencies(service, Any, 5, 0.9, minute, &LATENCIES);

    let response = service.oneshot(silent_at_first()).await.unwrap();

    assert_eq!(text(response).await, "a question");
    // The first request hangs; the second fails over by itself.
    assert_eq!(seen.keys(), ["limited", "limited", "good"]);
    assert!(matches!(
        pool.states()[..],
        [KeyState::Temporary { .. }, KeyState::Valid]
    ));
}

#[tokio::test(start_paused = true)]
async fn a_hedge_below_passes_each_attempt_once() {
    let seen = Seen::default();
    let minute = Duration::from_secs(60);
    let hedge = Hedge::<Router, _>::new_with_mock_latencies::<Request<RequestBody<Body>>>(
        provider(&seen),
        Never,
        5,
        0.9,
        minute,
        &LATENCIES,
    );
    // A hedge cannot be cloned; the buffer before it can.
    let service = ServiceBuilder::new()
        .layer(failover(&pool(["limited", "good"])))
        .buffer(1)
        .service(hedge);
    assert_shareable::<_, Request<Body>>(&service);

    let request = Request::post("/v1/messages")
        .body("a question".into())
        .unwrap();
    let response = service.oneshot(request).await.unwrap();

    assert_eq!(text(response).await, "a question");
    assert_eq!(seen.keys(), ["limited", "good"]);
}
