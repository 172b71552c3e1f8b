//! What sharing means for requests.

use std::time::Duration;

use http::StatusCode;
use tower_key_failover::pool::KeyState;

use crate::replica::{KEYS, Replica, builder, fast, two_fast_replicas, until};
use crate::server;
use crate::upstream::Upstream;

#[tokio::test]
async fn a_dead_key_costs_other_replicas_at_most_one_attempt() {
    let server = server!();
    let (one, other) = two_fast_replicas(&server).await;
    let (upstream, other_upstream) = (Upstream::refusing([KEYS[0]]), Upstream::refusing([KEYS[0]]));
    assert_eq!(upstream.request(&one).await, StatusCode::OK);
    assert_eq!(one.state(0), KeyState::Permanent);
    until(|| other.suspicions(0) == 1).await;
    for _ in 0..20 {
        assert_eq!(other_upstream.request(&other).await, StatusCode::OK);
    }
    assert!(other_upstream.attempts_with(KEYS[0]) <= 1);
}

#[tokio::test]
async fn replicas_next_to_a_misconfigured_one_keep_serving() {
    let server = server!();
    let (good, bad) = two_fast_replicas(&server).await;
    let (provider, refused) = (Upstream::default(), Upstream::refusing(KEYS));
    let mut served = 0;
    for _ in 0..300 {
        refused.request(&bad).await;
        served += u32::from(provider.request(&good).await == StatusCode::OK);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(served, 300);
    assert!(provider.attempts() <= 303);
}

#[tokio::test]
async fn a_key_that_a_probe_returned_elsewhere_is_probed_at_once() {
    let server = server!();
    let one = builder()
        .without_probe_jitter()
        .probe_after(Duration::from_millis(200));
    let one = Replica::of(fast(&server.url()), one);
    let other = Replica::of(fast(&server.url()), builder());
    one.connected().await;
    other.connected().await;
    let (upstream, other_upstream) = (Upstream::refusing([KEYS[0]]), Upstream::refusing([KEYS[0]]));
    upstream.request(&one).await;
    one.flushed().await;
    until(|| other.suspicions(0) == 1).await;
    other.key(0).mark_permanent();

    // The key works again. One replica finds out, the other one would wait for a minute.
    upstream.accept_all();
    other_upstream.accept_all();
    tokio::time::sleep(Duration::from_millis(250)).await;
    upstream.request(&one).await;
    assert_eq!(one.state(0), KeyState::Valid);
    one.flushed().await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while other.state(0) != KeyState::Valid {
        other_upstream.request(&other).await;
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
