//! The inner service while a request waits for a key.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use test_support::harness::{SECOND, key};
use test_support::mock::{Body, layer, pool, request, response};
use tokio::time::{Instant, sleep, timeout};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, ServiceExt, service_fn};
use tower_key_failover::RequestBody;
use tower_key_failover::pool::KeyState;

#[tokio::test(start_paused = true)]
async fn a_waiting_request_holds_no_permit() {
    let pool = pool(["k0"]);
    key(&pool, 0).mark_temporary(Some(3 * SECOND));
    let inner = service_fn(|_: Request<RequestBody<Body>>| async {
        sleep(SECOND).await;
        Ok::<_, Infallible>(response(200))
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
async fn a_request_takes_its_turn_for_a_permit_after_waiting() {
    let pool = pool(["k0"]);
    key(&pool, 0).mark_temporary(Some(SECOND));
    let inner =
        service_fn(|_: Request<RequestBody<Body>>| async { Ok::<_, Infallible>(response(200)) });
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_request_that_waits_on_many_threads_gets_a_response() {
    const REQUESTS: usize = 300;
    let pool = Arc::new(
        tower_key_failover::KeyPool::builder()
            .key("k0")
            .key("k1")
            .max_waiters(REQUESTS)
            .build()
            .unwrap(),
    );
    let refusals = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let inner = service_fn(move |_: Request<RequestBody<Body>>| {
        let refused = refusals
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed)
            .is_multiple_of(10);
        async move {
            tokio::task::yield_now().await;
            let mut response = Response::new(Full::<Bytes>::default());
            if refused {
                *response.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
            }
            Ok::<_, Infallible>(response)
        }
    });
    for key in pool.keys() {
        key.mark_temporary(Some(Duration::from_millis(5)));
    }
    let service = layer(&pool)
        .wait_for_key(Duration::from_secs(3600))
        .max_attempts(usize::MAX)
        .layer(inner);
    let requests: Vec<_> = (0..REQUESTS)
        .map(|_| tokio::spawn(service.clone().oneshot(request("one"))))
        .collect();
    // Whatever is put out is returned by hand: no request depends on the clock.
    let healer = {
        let pool = Arc::clone(&pool);
        tokio::spawn(async move {
            loop {
                for at in 0..2 {
                    if pool.states()[at] != KeyState::Valid {
                        pool.reinstate(at).unwrap();
                    }
                }
                tokio::task::yield_now().await;
            }
        })
    };
    for request in requests {
        let answer = timeout(Duration::from_secs(30), request).await.unwrap();
        assert_eq!(answer.unwrap().unwrap().status(), 200);
    }
    healer.abort();
}
