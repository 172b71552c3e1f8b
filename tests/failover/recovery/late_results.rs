//! What comes late undoes nothing that came before it.

use std::sync::Arc;
use std::time::Duration;

use test_support::harness::{Harness, SECOND, cooling_down, rate_limited};
use test_support::mock::{layer, response};
use tokio::time::advance;
use tower_key_failover::pool::{KeyPool, KeyState};

const TIME: Duration = Duration::from_secs(600);

fn harness() -> (Arc<KeyPool>, Harness) {
    let pool = KeyPool::builder()
        .key("k0")
        .key("k1")
        .probe_after(TIME)
        .without_probe_jitter();
    let pool = Arc::new(pool.build().unwrap());
    let harness = Harness::new(&layer(&pool));
    (pool, harness)
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_an_attempt_that_began_before_a_reinstatement_does_not_undo_it() {
    let (pool, mut harness) = harness();
    let mut early = harness.send();
    let seen = harness.next_attempt();
    harness.keys([response(401), response(200)]);
    assert!(pool.reinstate(0).unwrap());
    seen.respond(response(401));
    early.poll();
    harness.next_attempt().respond(response(200));
    assert_eq!(early.status(), 200);
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_an_attempt_that_began_before_a_successful_probe_does_not_undo_it() {
    let (pool, mut harness) = harness();
    let mut early = harness.send();
    let seen = harness.next_attempt();
    harness.keys([response(401), response(200)]);
    advance(TIME).await;
    assert_eq!(harness.keys([response(200)]), ["k0"]);
    seen.respond(rate_limited("5"));
    early.poll();
    harness.next_attempt().respond(response(200));
    assert_eq!(early.status(), 200);
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_an_attempt_that_began_after_a_return_counts() {
    let (pool, mut harness) = harness();
    harness.keys([response(401), response(200)]);
    pool.reinstate(0).unwrap();
    harness.keys([response(401), response(200)]);
    assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn a_late_success_does_not_clear_a_cooldown() {
    let (pool, mut harness) = harness();
    let mut early = harness.send();
    let seen = harness.next_attempt();
    harness.keys([rate_limited("9"), response(200)]);
    seen.respond(response(200));
    assert_eq!(early.status(), 200);
    assert_eq!(pool.states()[0], cooling_down(9 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_late_success_of_a_probe_does_not_clear_marks_after_a_reinstatement() {
    let (pool, mut harness) = harness();
    harness.keys([response(401), response(200)]);
    advance(TIME).await;
    let mut trying = harness.send();
    let seen = harness.next_attempt();
    assert_eq!(seen.key, "k0");
    pool.reinstate(0).unwrap();
    harness.keys([rate_limited("9"), response(200)]);
    seen.respond(response(200));
    assert_eq!(trying.status(), 200);
    assert_eq!(pool.states()[0], cooling_down(9 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_late_failure_of_a_probe_does_not_undo_a_reinstatement() {
    let (pool, mut harness) = harness();
    harness.keys([response(401), response(200)]);
    advance(TIME).await;
    let mut trying = harness.send();
    let seen = harness.next_attempt();
    pool.reinstate(0).unwrap();
    seen.respond(response(401));
    trying.poll();
    harness.next_attempt().respond(response(200));
    assert_eq!(trying.status(), 200);
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}
