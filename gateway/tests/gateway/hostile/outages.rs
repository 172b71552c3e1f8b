//! A provider that refuses every request for a while, and then recovers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;

use crate::hostile::traffic::{BUSY_MACHINE, Caller, GOOD_PATH, start, with_key_counts};
use crate::support::{Upstream, upstream_with};

/// A provider that responds to every request with the status in the cell.
async fn provider() -> (Upstream, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let current = Arc::clone(&status);
    let upstream = upstream_with(move |_| {
        let status = current.load(Ordering::Relaxed);
        async move {
            let response = Response::builder().status(status);
            response.body(Body::empty()).unwrap()
        }
    });
    (upstream.await, status)
}

#[tokio::test]
async fn the_first_request_succeeds_after_a_provider_has_sent_403_to_everything() {
    with_key_counts(async |keys| {
        let (upstream, status) = provider().await;
        let gateway = start(&upstream, keys).await;
        let caller = Caller::new(&gateway);
        status.store(403, Ordering::Relaxed);
        assert_ne!(caller.good_traffic().await, 0);

        status.store(200, Ordering::Relaxed);

        assert_eq!(caller.send(GOOD_PATH).await, 200, "{keys} keys");
    })
    .await;
}

/// A request spends at most three attempts on unexplained refusals.
#[tokio::test]
async fn a_request_tries_at_most_three_keys_if_all_are_refused_without_an_explanation() {
    let (upstream, status) = provider().await;
    let gateway = start(&upstream, 10).await;
    status.store(403, Ordering::Relaxed);

    assert_eq!(Caller::new(&gateway).send(GOOD_PATH).await, 403);

    assert_eq!(upstream.seen().len(), 3);
}

#[tokio::test]
async fn a_gateway_serves_again_within_two_seconds_after_all_its_keys_were_refused_with_401() {
    with_key_counts(async |keys| {
        let (upstream, status) = provider().await;
        let gateway = start(&upstream, keys).await;
        let caller = Caller::new(&gateway);
        status.store(401, Ordering::Relaxed);
        assert_ne!(caller.send(GOOD_PATH).await, 200);

        status.store(200, Ordering::Relaxed);

        let took = caller.recovers().await;
        let most = Duration::from_secs(2) + BUSY_MACHINE;
        assert!(took < most, "{keys} keys: {took:?}");
    })
    .await;
}
