//! How a probe ends, and which key of a group is probed.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use test_support::harness::{Harness, SECOND, cooling_down, key, rate_limited};
use test_support::mock::{layer, request, response};
use tokio::time::advance;
use tower_key_failover::ReplayBudget;
use tower_key_failover::pool::{KeyPool, KeyPoolBuilder, KeyState};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

fn build(builder: KeyPoolBuilder) -> Arc<KeyPool> {
    Arc::new(builder.without_probe_jitter().build().unwrap())
}

/// A pool whose first key is permanently marked and due for a probe.
async fn due() -> Arc<KeyPool> {
    let pool = build(KeyPool::builder().key("k0").key("k1"));
    key(&pool, 0).mark_permanent();
    advance(MINUTE).await;
    pool
}

#[tokio::test(start_paused = true)]
async fn a_request_makes_one_probe_however_many_keys_are_due() {
    let builder = (0..99).fold(KeyPool::builder(), |pool, at| pool.key(format!("dead{at}")));
    let pool = build(builder.key("good"));
    for at in 0..99 {
        key(&pool, at).mark_permanent();
    }
    advance(24 * HOUR).await;
    let mut harness = Harness::new(&layer(&pool));
    let keys = harness.keys([response(401), response(200)]);
    assert_eq!(keys, ["dead0", "good"]);
}

#[tokio::test(start_paused = true)]
async fn a_permanently_marked_member_does_not_use_up_the_probe_of_its_group() {
    let group = KeyPool::builder()
        .key("dead")
        .group("org")
        .key("good")
        .group("org");
    let pool = build(group.key("spare").probe_after(10 * MINUTE));
    key(&pool, 0).mark_permanent();
    key(&pool, 1).mark_temporary(Some(24 * HOUR));
    let mut harness = Harness::new(&layer(&pool));
    advance(10 * MINUTE).await;
    // Both the key and the group are due. One request probes one of them, the next the other.
    let mut probed = Vec::new();
    for _ in 0..2 {
        let mut request = harness.send();
        let sent = harness.next_attempt();
        probed.push(sent.key.clone());
        let is_dead = sent.key == "dead";
        sent.respond(response(if is_dead { 401 } else { 200 }));
        request.poll();
        if is_dead {
            harness.next_attempt().respond(response(200));
        }
        assert_eq!(request.status(), 200);
    }
    assert!(probed.contains(&"good".to_owned()), "{probed:?}");
    assert_eq!(pool.states()[1], KeyState::Valid);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_outgrows_the_replay_budget_is_followed_by_the_next_one() {
    let pool = due().await;
    let layer = layer(&pool).replay_budget(ReplayBudget::new(3));
    let mut harness = Harness::new(&layer);
    let mut request = harness.send_request(request("long"));
    let mut sent = harness.next_attempt();
    assert_eq!(sent.key, "k0");
    sent.request.body_mut().collect().await.unwrap();
    sent.respond(response(401));
    assert_ne!(request.status(), 200);
    // The refusal doubles the interval. Then the key is probed again.
    advance(2 * MINUTE).await;
    let mut harness = Harness::new(&test_support::mock::layer(&pool));
    assert_eq!(harness.keys([response(200)]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_probe_is_not_lost_if_its_request_can_no_longer_be_replayed() {
    let pool = build(KeyPool::builder().key("k0").key("k1").key("k2"));
    let layer = layer(&pool).replay_budget(ReplayBudget::new(3));
    let mut harness = Harness::new(&layer);
    // The probe is due only when the request looks for its second key.
    let mut request = harness.send_request(request("long"));
    let mut sent = harness.next_attempt();
    assert_eq!(sent.key, "k0");
    sent.request.body_mut().collect().await.unwrap();
    key(&pool, 1).mark_permanent();
    advance(MINUTE).await;
    sent.respond(rate_limited("5"));
    assert_eq!(request.status(), 429);
    let mut harness = Harness::new(&test_support::mock::layer(&pool));
    assert_eq!(harness.keys([response(200)]), ["k1"]);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_is_followed_by_the_next_one_after_five_seconds() {
    let pool = due().await;
    let mut harness = Harness::new(&layer(&pool));
    let _hung = harness.send();
    let _sent = harness.next_attempt();
    advance(5 * SECOND).await;
    assert_eq!(harness.keys([response(200)]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_during_a_probe_proves_that_the_key_works() {
    let pool = due().await;
    let mut harness = Harness::new(&layer(&pool));
    assert_eq!(
        harness.keys([rate_limited("7"), response(200)]),
        ["k0", "k1"]
    );
    assert_eq!(pool.states(), [cooling_down(7 * SECOND), KeyState::Valid]);
    advance(7 * SECOND).await;
    assert_eq!(harness.keys([response(200)]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_during_a_probe_lets_the_whole_group_cool_down() {
    let group = KeyPool::builder()
        .key("k0")
        .group("org")
        .key("k1")
        .group("org");
    let pool = build(group.key("k2"));
    key(&pool, 0).mark_permanent();
    advance(MINUTE).await;
    let mut harness = Harness::new(&layer(&pool));
    assert_eq!(
        harness.keys([rate_limited("7"), response(200)]),
        ["k0", "k2"]
    );
    let out = cooling_down(7 * SECOND);
    assert_eq!(pool.states(), [out, out, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_of_a_probe_that_began_before_a_reinstatement_has_no_effect() {
    let pool = due().await;
    let mut harness = Harness::new(&layer(&pool));
    let mut request = harness.send();
    let sent = harness.next_attempt();
    assert_eq!(sent.key, "k0");
    pool.reinstate(0).unwrap();
    sent.respond(rate_limited("7"));
    request.poll();
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}
