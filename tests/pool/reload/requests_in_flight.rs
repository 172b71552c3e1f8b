//! Requests that are under way while the list changes.

use test_support::harness::Harness;
use test_support::mock::{layer, pool, response};
use tower_key_failover::pool::KeyState;

#[tokio::test(start_paused = true)]
async fn an_attempt_finishes_with_its_key_after_the_key_was_removed() {
    let pool = pool(["k0", "k1"]);
    let mut harness = Harness::new(&layer(&pool));
    let mut request = harness.send();
    let seen = harness.next_attempt();
    pool.remove_key(0).unwrap();
    seen.respond(response(200));
    assert_eq!(request.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_starts_with_a_removed_key() {
    let pool = pool(["k0", "k1", "k2"]);
    let mut harness = Harness::new(&layer(&pool));
    let mut request = harness.send();
    let seen = harness.next_attempt();
    pool.remove_key(1).unwrap();
    seen.respond(response(401));
    request.poll();
    assert_eq!(harness.next_attempt().key, "k2");
}

#[tokio::test(start_paused = true)]
async fn no_attempt_starts_if_its_key_is_removed_before_the_service_is_ready() {
    let pool = pool(["k0", "k1", "k2"]);
    let mut harness = Harness::new(&layer(&pool));
    let mut request = harness.send();
    let seen = harness.next_attempt();
    harness.provider.allow(0);
    seen.respond(response(401));
    assert!(request.is_pending(), "the second key is taken");
    pool.remove_key(1).unwrap();
    harness.provider.allow(1);
    request.poll();
    assert_eq!(harness.next_attempt().key, "k2");
}

#[tokio::test(start_paused = true)]
async fn a_request_is_exhausted_if_the_last_key_is_removed() {
    let pool = pool(["k0", "k1"]);
    let mut harness = Harness::new(&layer(&pool));
    let mut request = harness.send();
    let seen = harness.next_attempt();
    harness.provider.allow(0);
    seen.respond(response(401));
    assert!(request.is_pending());
    pool.remove_key(1).unwrap();
    harness.provider.allow(1);
    assert_eq!(request.status(), 502);
    assert!(harness.try_next_attempt().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_added_during_the_last_attempt_serves_only_later_requests() {
    let pool = pool(["k0", "k1"]);
    let mut harness = Harness::new(&layer(&pool));
    let mut request = harness.send();
    harness.next_attempt().respond(response(401));
    request.poll();
    let seen = harness.next_attempt();
    pool.add_key("k2").unwrap();
    seen.respond(response(401));
    // Whether another could follow was decided when the attempt started.
    assert_eq!(request.status(), 429);
    assert_eq!(harness.keys([response(200)]), ["k2"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_moved_is_not_tried_twice_by_one_request() {
    let pool = pool(["k0", "k1", "k2"]);
    let mut harness = Harness::new(&layer(&pool));
    let mut request = harness.send();
    let seen = harness.next_attempt();
    assert_eq!(seen.key, "k0");
    pool.replace_keys(["k1", "k0", "k2"]).unwrap();
    seen.respond(test_support::harness::keep());
    request.poll();
    let seen = harness.next_attempt();
    assert_eq!(seen.key, "k1");
    seen.respond(response(200));
    assert_eq!(request.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_a_removed_key_marks_no_other_key() {
    let pool = pool(["k0", "k1"]);
    let mut harness = Harness::new(&layer(&pool));
    let mut request = harness.send();
    let seen = harness.next_attempt();
    pool.replace_keys(["k1", "k2"]).unwrap();
    pool.add_key("k0").unwrap();
    seen.respond(response(401));
    request.poll();
    harness.next_attempt().respond(response(200));
    assert_eq!(request.status(), 200);
    assert_eq!(pool.states(), [KeyState::Valid; 3]);
}
