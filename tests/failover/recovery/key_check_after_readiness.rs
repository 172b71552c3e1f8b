//! A key that is marked, disabled or removed while the inner service becomes ready.

use std::sync::Arc;

use test_support::harness::{Harness, InFlight, SECOND, key, rate_limited};
use test_support::mock::{layer, pool, response};
use tokio::time::advance;
use tower_key_failover::pool::{KeyPool, KeyState};

/// A request whose first key was rate-limited, and which waits for the service before it uses the
/// second one.
fn between_attempts<const N: usize>(keys: [&'static str; N]) -> (Arc<KeyPool>, Harness, InFlight) {
    let pool = pool(keys);
    let mut harness = Harness::new(&layer(&pool));
    harness.provider.allow(1);
    let mut request = harness.send();
    harness.next_attempt().respond(rate_limited("60"));
    assert!(request.is_pending());
    assert!(harness.try_next_attempt().is_none(), "it is not ready");
    (pool, harness, request)
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_disabled_while_the_service_becomes_ready_is_not_used() {
    let (pool, mut harness, mut request) = between_attempts(["k0", "k1", "k2"]);
    pool.disable(1).unwrap();
    advance(30 * SECOND).await;
    harness.provider.allow(1);
    request.poll();
    assert_eq!(harness.next_attempt().key, "k2");
}

#[tokio::test(start_paused = true)]
async fn a_disabled_key_is_not_used_even_if_no_other_is_left() {
    let (pool, mut harness, mut request) = between_attempts(["k0", "k1"]);
    pool.disable(1).unwrap();
    harness.provider.allow(1);
    assert_eq!(request.status(), 429);
    assert!(harness.try_next_attempt().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_rate_limited_while_the_service_becomes_ready_gives_way_to_another() {
    let (pool, mut harness, mut request) = between_attempts(["k0", "k1", "k2"]);
    key(&pool, 1).mark_temporary(Some(60 * SECOND));
    advance(30 * SECOND).await;
    harness.provider.allow(1);
    request.poll();
    assert_eq!(harness.next_attempt().key, "k2");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_permanently_marked_while_the_service_becomes_ready_gives_way_to_another() {
    let (pool, mut harness, mut request) = between_attempts(["k0", "k1", "k2"]);
    key(&pool, 1).mark_permanent();
    harness.provider.allow(1);
    request.poll();
    assert_eq!(harness.next_attempt().key, "k2");
}

#[tokio::test(start_paused = true)]
async fn a_rate_limited_key_is_used_if_no_other_is_left() {
    let (pool, mut harness, mut request) = between_attempts(["k0", "k1"]);
    key(&pool, 1).mark_temporary(Some(60 * SECOND));
    harness.provider.allow(1);
    request.poll();
    let sent = harness.next_attempt();
    assert_eq!(sent.key, "k1");
    sent.respond(response(200));
    assert_eq!(request.status(), 200);
    assert_eq!(pool.states()[1], KeyState::Valid, "a success counts");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_replaced_can_be_used_after_its_cooldown() {
    let (pool, mut harness, mut request) = between_attempts(["k0", "k1", "k2"]);
    key(&pool, 1).mark_temporary(Some(SECOND));
    harness.provider.allow(1);
    request.poll();
    let sent = harness.next_attempt();
    assert_eq!(sent.key, "k2");
    advance(SECOND).await;
    harness.provider.allow(1);
    sent.respond(rate_limited("5"));
    request.poll();
    assert_eq!(harness.next_attempt().key, "k1");
}

#[tokio::test(start_paused = true)]
async fn a_disabled_key_gives_way_to_another_one_of_a_group_that_it_fills() {
    let builder = KeyPool::builder().key("k0");
    let builder = builder.key("k1").group("org").key("k2").group("org");
    let pool = Arc::new(builder.group_max_in_flight("org", 1).build().unwrap());
    let mut harness = Harness::new(&layer(&pool));
    harness.provider.allow(1);
    let mut request = harness.send();
    harness.next_attempt().respond(rate_limited("60"));
    assert!(request.is_pending());
    pool.disable(1).unwrap();
    harness.provider.allow(1);
    request.poll();
    assert_eq!(harness.next_attempt().key, "k2");
}

#[tokio::test(start_paused = true)]
async fn a_success_counts_with_a_key_that_reopened_and_was_marked_while_the_service_became_ready() {
    let pool = pool(["k0", "k1"]);
    key(&pool, 1).mark_temporary(Some(SECOND));
    advance(SECOND).await;
    let mut harness = Harness::new(&layer(&pool));
    harness.provider.allow(1);
    let mut request = harness.send();
    harness.next_attempt().respond(rate_limited("60"));
    assert!(request.is_pending());
    key(&pool, 1).mark_permanent();
    harness.provider.allow(1);
    request.poll();
    let sent = harness.next_attempt();
    assert_eq!(sent.key, "k1");
    sent.respond(response(200));
    assert_eq!(request.status(), 200);
    assert_eq!(pool.states()[1], KeyState::Valid);
}
