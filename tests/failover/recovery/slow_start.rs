//! A key whose cooldown is over is offered to one request first.

use std::sync::Arc;
use std::time::Duration;

use test_support::harness::{Harness, MILLI, SECOND, key, rate_limited};
use test_support::mock::{layer, response};
use tokio::time::advance;
use tower_key_failover::pool::{KeyPool, KeyPoolBuilder};

const RAMP: Duration = Duration::from_secs(60);

fn builder() -> KeyPoolBuilder {
    KeyPool::builder().key("k0").key("k1").slow_start(RAMP)
}

/// A pool whose first key has just returned.
async fn returned(builder: KeyPoolBuilder) -> (Arc<KeyPool>, Harness) {
    let pool = Arc::new(builder.build().unwrap());
    key(&pool, 0).mark_temporary(Some(SECOND));
    advance(SECOND).await;
    let harness = Harness::new(&layer(&pool));
    (pool, harness)
}

/// The keys of so many requests at once, none of which gets a response.
fn storm(harness: &mut Harness, requests: usize) -> Vec<String> {
    let _flights: Vec<_> = (0..requests).map(|_| harness.send()).collect();
    (0..requests).map(|_| harness.next_attempt().key).collect()
}

#[tokio::test(start_paused = true)]
async fn one_request_tries_a_recovered_key_while_others_use_another() {
    let (_, mut harness) = returned(builder()).await;
    assert_eq!(storm(&mut harness, 4), ["k0", "k1", "k1", "k1"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_can_continue_with_a_recovered_key_that_another_request_tries() {
    let (_, mut harness) = returned(builder()).await;
    let (_first, mut second) = (harness.send(), harness.send());
    assert_eq!(harness.next_attempt().key, "k0");
    harness.next_attempt().respond(response(401));
    assert!(second.is_pending());
    assert_eq!(harness.next_attempt().key, "k0");
}

#[tokio::test(start_paused = true)]
async fn without_slow_start_all_requests_get_a_recovered_key_at_once() {
    let (_, mut harness) = returned(KeyPool::builder().key("k0").key("k1")).await;
    assert_eq!(storm(&mut harness, 3), ["k0", "k0", "k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_success_ends_slow_start() {
    let (_, mut harness) = returned(builder()).await;
    assert_eq!(harness.keys([response(200)]), ["k0"]);
    assert_eq!(storm(&mut harness, 3), ["k0", "k0", "k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_refused_by_a_recovered_key_continues() {
    let (_, mut harness) = returned(builder()).await;
    assert_eq!(
        harness.keys([rate_limited("1"), response(200)]),
        ["k0", "k1"]
    );
    assert_eq!(storm(&mut harness, 2), ["k1", "k1"]);
    advance(SECOND).await;
    assert_eq!(storm(&mut harness, 2), ["k0", "k1"]);
}

#[tokio::test(start_paused = true)]
async fn the_next_request_tries_a_recovered_key_after_an_inconclusive_attempt() {
    let (_, mut harness) = returned(builder()).await;
    drop(harness.send());
    harness.next_attempt();
    let mut failing = harness.send();
    harness.next_attempt().fail("connection reset");
    assert!(failing.result().is_err());
    assert_eq!(harness.keys([response(500)]), ["k0"]);
    assert_eq!(storm(&mut harness, 2), ["k0", "k1"]);
}

#[tokio::test(start_paused = true)]
async fn slow_start_ends_after_its_time_without_a_success() {
    let (_, mut harness) = returned(builder()).await;
    advance(RAMP - MILLI).await;
    let trying = harness.send();
    assert_eq!(harness.next_attempt().key, "k0");
    assert_eq!(harness.keys([response(200)]), ["k1"]);
    advance(MILLI).await;
    assert_eq!(storm(&mut harness, 2), ["k0", "k0"]);
    drop(trying);
}

#[tokio::test(start_paused = true)]
async fn a_pool_of_one_key_never_blocks_itself() {
    let (_, mut harness) = returned(KeyPool::builder().key("k0").slow_start(RAMP)).await;
    assert_eq!(storm(&mut harness, 3), ["k0", "k0", "k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_pool_whose_other_keys_are_marked_never_blocks_itself() {
    let (pool, mut harness) = returned(builder()).await;
    key(&pool, 1).mark_permanent();
    assert_eq!(storm(&mut harness, 3), ["k0", "k0", "k0"]);
}

#[tokio::test(start_paused = true)]
async fn of_a_group_one_key_is_tried() {
    let builder = KeyPool::builder()
        .key("k0")
        .group("org")
        .key("k1")
        .group("org");
    let (_, mut harness) = returned(builder.key("k2").slow_start(RAMP)).await;
    assert_eq!(storm(&mut harness, 3), ["k0", "k2", "k2"]);
    assert_eq!(harness.keys([response(200)]), ["k0"]);
    assert_eq!(storm(&mut harness, 2), ["k0", "k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_reinstated_key_is_available_to_all_requests_at_once() {
    let (pool, mut harness) = returned(builder()).await;
    key(&pool, 0).mark_permanent();
    pool.reinstate(0).unwrap();
    assert_eq!(storm(&mut harness, 2), ["k0", "k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_mark_of_an_attempt_that_began_before_the_success_changes_nothing() {
    let (pool, mut harness) = returned(builder()).await;
    let early = key(&pool, 0);
    assert_eq!(harness.keys([response(200)]), ["k0"]);
    early.mark_permanent();
    assert_eq!(harness.keys([response(200)]), ["k0"]);
}
