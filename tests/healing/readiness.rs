//! The inner service while a request waits for a key.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::{Instant, sleep, timeout};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, ServiceExt, service_fn};
use tower_key_failover::RequestBody;
use tower_key_failover::pool::KeyState;

use crate::rig::{SECOND, key};
use crate::support::{Body, answer, layer, pool, request};

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_holds_no_permit() {
    let pool = pool(["k0"]);
    key(&pool, 0).mark_temporary(Some(3 * SECOND));
    let inner = service_fn(|_: Request<RequestBody<Body>>| async {
        sleep(SECOND).await;
        Ok::<_, Infallible>(answer(200))
    });
    let limited = ConcurrencyLimit::new(inner, 1);
    let mut other = limited.clone();
    let waiting = layer(&pool).wait_for_key(5 * SECOND).layer(limited);
    let waiting = tokio::spawn(waiting.oneshot(request("one")));
    sleep(Duration::from_millis(1)).await;

    // The only permit is free, though the request had it when it came.
    let free = timeout(Duration::from_millis(1), other.ready()).await;
    assert!(free.is_ok());
    assert!(!waiting.is_finished());
    drop(other);

    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn after_the_wait_it_takes_its_turn_for_a_permit() {
    let pool = pool(["k0"]);
    key(&pool, 0).mark_temporary(Some(SECOND));
    let inner =
        service_fn(|_: Request<RequestBody<Body>>| async { Ok::<_, Infallible>(answer(200)) });
    let limited = ConcurrencyLimit::new(inner, 1);
    let mut other = limited.clone();
    let began = Instant::now();
    let waiting = layer(&pool).wait_for_key(5 * SECOND).layer(limited);
    let waiting = tokio::spawn(waiting.oneshot(request("one")));
    sleep(Duration::from_millis(1)).await;
    let _ = other.ready().await.unwrap();
    sleep(3 * SECOND).await;
    assert!(!waiting.is_finished(), "the permit is taken");
    drop(other);
    assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
    assert!(Instant::now().saturating_duration_since(began) < 4 * SECOND);
}
