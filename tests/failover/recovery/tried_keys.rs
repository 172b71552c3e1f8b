//! Which keys a request does not try again, while the pool's list changes.

use std::sync::Arc;
use std::time::Duration;

use test_support::harness::{Harness, SECOND, keep, rate_limited};
use test_support::mock::{layer, pool, response};
use test_support::policy::TestPolicy;
use tokio::time::advance;
use tower_key_failover::KeyFailoverLayer;
use tower_key_failover::pool::KeyPool;

fn waiting(pool: &Arc<KeyPool>, time: Duration) -> KeyFailoverLayer<TestPolicy> {
    layer(pool).wait_for_key(time)
}

#[tokio::test(start_paused = true)]
async fn a_request_continues_with_all_other_keys_after_a_reorder() {
    let pool = pool(["a", "b", "c"]);
    let mut harness = Harness::new(&layer(&pool));
    let mut request = harness.send();
    let first = harness.next_attempt();
    assert_eq!(first.key, "a");
    pool.replace_keys(["b", "c", "a"]).unwrap();
    first.respond(rate_limited("5"));
    request.poll();
    for expected in ["b", "c"] {
        let sent = harness.next_attempt();
        assert_eq!(sent.key, expected);
        sent.respond(rate_limited("5"));
        request.poll();
    }
    assert_eq!(request.status(), 429);
}

#[tokio::test(start_paused = true)]
async fn a_request_tries_a_key_that_was_added_in_front_of_its_own() {
    let pool = pool(["a", "b"]);
    let mut harness = Harness::new(&layer(&pool));
    let mut request = harness.send();
    let first = harness.next_attempt();
    pool.replace_keys(["new", "a", "b"]).unwrap();
    first.respond(rate_limited("5"));
    request.poll();
    harness.next_attempt().respond(keep());
    request.poll();
    assert_eq!(harness.next_attempt().key, "b");
}

#[tokio::test(start_paused = true)]
async fn no_key_is_tried_twice_however_the_list_changes() {
    let pool = pool(["a", "b", "c"]);
    let mut harness = Harness::new(&layer(&pool));
    let mut request = harness.send();
    let orders = [["b", "a", "c"], ["c", "b", "a"], ["a", "c", "b"]];
    let mut seen = Vec::new();
    for order in orders {
        let sent = harness.next_attempt();
        seen.push(sent.key.clone());
        pool.replace_keys(order).unwrap();
        sent.respond(keep());
        request.poll();
    }
    assert_eq!(request.status(), 403);
    seen.sort();
    assert_eq!(seen, ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_tried_again_once_the_cooldown_that_the_request_caused_has_ended() {
    let pool = pool(["a", "b"]);
    let mut harness = Harness::new(&waiting(&pool, 60 * SECOND));
    let mut request = harness.send();
    harness.next_attempt().respond(rate_limited("3"));
    request.poll();
    harness.next_attempt().respond(rate_limited("5"));
    assert!(request.is_pending());
    advance(3 * SECOND).await;
    request.poll();
    assert_eq!(harness.next_attempt().key, "a");
}

#[tokio::test(start_paused = true)]
async fn a_slow_request_tries_a_key_again_whose_cooldown_ended_during_another_attempt() {
    let pool = pool(["a", "b"]);
    let mut harness = Harness::new(&waiting(&pool, 60 * SECOND));
    let mut request = harness.send();
    harness.next_attempt().respond(rate_limited("3"));
    request.poll();
    let slow = harness.next_attempt();
    assert_eq!(slow.key, "b");
    advance(10 * SECOND).await;
    slow.respond(rate_limited("5"));
    request.poll();
    let again = harness.next_attempt();
    assert_eq!(again.key, "a");
    again.respond(response(200));
    let info = request.info();
    assert_eq!((info.attempts(), info.waited()), (3, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_reinstated_key_that_refused_a_request_for_good_is_not_tried_again_by_it() {
    let pool = pool(["a", "b"]);
    let mut harness = Harness::new(&layer(&pool));
    let mut request = harness.send();
    harness.next_attempt().respond(response(401));
    request.poll();
    let second = harness.next_attempt();
    pool.reinstate(0).unwrap();
    second.respond(rate_limited("5"));
    assert_eq!(request.status(), 429);
    assert!(harness.try_next_attempt().is_none());
}
