//! A common cause is not as many dead keys.

use std::num::NonZeroUsize;
use std::sync::Arc;

use test_support::harness::{Harness, SECOND, keep, key, rate_limited};
use test_support::mock::{layer, pool, response};
use tokio::time::advance;
use tower_key_failover::pool::{KeyPool, KeyState};

const COOLDOWN: KeyState = KeyState::Temporary {
    retry_after: std::time::Duration::from_secs(60),
};

fn harness(pool: &Arc<KeyPool>, keys: usize) -> Harness {
    Harness::new(&layer(pool).common_cause(NonZeroUsize::new(keys).unwrap()))
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_good_is_a_cooldown_at_first() {
    let pool = pool(["k0", "k1"]);
    let mut harness = harness(&pool, 3);
    let mut request = harness.send();
    harness.next_attempt().respond(response(401));
    assert!(request.is_pending());
    assert_eq!(pool.states(), [COOLDOWN, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn it_is_for_good_once_another_key_has_answered_the_request_otherwise() {
    for second in [response(200), response(500), keep(), rate_limited("5")] {
        let pool = pool(["k0", "k1"]);
        let (keys, _) = harness(&pool, 3).run([response(401), second]);
        assert_eq!(keys, ["k0", "k1"]);
        assert_eq!(pool.states()[0], KeyState::Permanent);
    }
}

#[tokio::test(start_paused = true)]
async fn another_status_is_another_answer() {
    let pool = pool(["k0", "k1", "k2"]);
    harness(&pool, 2).run([response(401), response(403), response(401)]);
    assert_eq!(
        pool.states(),
        [KeyState::Permanent, KeyState::Permanent, COOLDOWN]
    );
}

#[tokio::test(start_paused = true)]
async fn after_so_many_alike_no_other_is_tried_and_none_is_put_out_for_good() {
    let pool = pool(["k0", "k1", "k2"]);
    let (keys, response) = harness(&pool, 2).run([response(401), response(401)]);
    assert_eq!(keys, ["k0", "k1"]);
    assert_eq!(response.status(), 429, "the third key is valid");
    assert_eq!(pool.states(), [COOLDOWN, COOLDOWN, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn where_all_keys_were_refused_alike_their_cooldown_is_told() {
    let pool = pool(["k0", "k1"]);
    let (_, response) = harness(&pool, 2).run([response(403), response(403)]);
    assert_eq!(
        (
            response.status().as_u16(),
            &response.headers()["retry-after"]
        ),
        (429, &"60".parse().unwrap())
    );
}

#[tokio::test(start_paused = true)]
async fn keys_run_out_before_there_are_so_many_and_none_is_put_out_for_good() {
    let pool = pool(["k0", "k1"]);
    harness(&pool, 3).run([response(401), response(401)]);
    assert_eq!(pool.states(), [COOLDOWN; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_cancelled_leaves_the_cooldown() {
    let pool = pool(["k0", "k1"]);
    let mut harness = harness(&pool, 2);
    let mut request = harness.send();
    harness.next_attempt().respond(response(401));
    assert!(request.is_pending());
    let seen = harness.next_attempt();
    drop(request);
    seen.respond(response(200));
    assert_eq!(pool.states(), [COOLDOWN, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn a_transport_error_is_no_answer() {
    let pool = pool(["k0", "k1"]);
    let mut harness = harness(&pool, 2);
    let mut request = harness.send();
    harness.next_attempt().respond(response(401));
    request.poll();
    harness.next_attempt().fail("connection reset");
    assert!(request.result().is_err());
    assert_eq!(pool.states(), [COOLDOWN, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn another_request_convicts_nothing_of_this_one() {
    let pool = pool(["k0", "k1"]);
    let mut harness = harness(&pool, 2);
    let mut request = harness.send();
    harness.next_attempt().respond(response(401));
    assert!(request.is_pending());
    let _under_way = harness.next_attempt();
    assert_eq!(harness.keys([response(200)]), ["k1"]);
    assert_eq!(pool.states()[0], COOLDOWN);
}

#[tokio::test(start_paused = true)]
async fn unless_it_is_asked_for_each_refusal_counts() {
    let pool = pool(["k0", "k1"]);
    Harness::new(&layer(&pool)).run([response(401), response(401)]);
    assert_eq!(pool.states(), [KeyState::Permanent; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_serves_the_request_after_all_is_not_put_out_for_its_earlier_refusal() {
    let pool = pool(["k0"]);
    let layer = layer(&pool).common_cause(NonZeroUsize::new(2).unwrap());
    let mut harness = Harness::new(&layer.wait_for_key(60 * SECOND));
    let mut request = harness.send();
    harness.next_attempt().respond(response(401));
    assert!(request.is_pending());
    advance(60 * SECOND).await;
    assert!(request.is_pending());
    harness.next_attempt().respond(response(200));
    assert_eq!(request.status(), 200);
    assert_eq!(pool.states(), [KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn one_key_that_is_refused_twice_is_one() {
    let pool = pool(["k0", "k1"]);
    key(&pool, 1).mark_temporary(Some(90 * SECOND));
    let layer = layer(&pool).common_cause(NonZeroUsize::new(2).unwrap());
    let mut harness = Harness::new(&layer.wait_for_key(90 * SECOND));
    let mut request = harness.send();
    harness.next_attempt().respond(response(401));
    assert!(request.is_pending());
    advance(60 * SECOND).await;
    assert!(request.is_pending());
    harness.next_attempt().respond(response(401));
    assert!(request.is_pending(), "the second key may tell");
    advance(30 * SECOND).await;
    assert!(request.is_pending());
    let seen = harness.next_attempt();
    assert_eq!(seen.key, "k1");
    seen.respond(response(200));
    assert_eq!(request.status(), 200);
    assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_does_not_put_its_group_out() {
    let pool = KeyPool::builder().key("k0").group("org").key("k1");
    let pool = Arc::new(pool.group("org").build().unwrap());
    let (keys, response) = harness(&pool, 2).run([response(401), response(200)]);
    assert_eq!((keys.len(), response.status().as_u16()), (2, 200));
    assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn a_suspect_is_out_for_the_default_cooldown_however_others_have_grown() {
    let pool = KeyPool::builder().key("k0").key("k1");
    let pool = pool.exponential_cooldown(60 * SECOND..=600 * SECOND);
    let pool = Arc::new(pool.build().unwrap());
    let mut harness = harness(&pool, 2);
    for _ in 0..3 {
        harness.run([response(401), response(401)]);
        assert_eq!(pool.states(), [COOLDOWN; 2]);
        advance(60 * SECOND).await;
    }
}
