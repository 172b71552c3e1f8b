//! A permanently marked key, and one that cools down for long, is probed by one request at a time.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use test_support::harness::{
    Harness, MILLI, MockResponse, SECOND, cooling_down, keep, key, rate_limited,
};
use test_support::mock::{layer, request, response};
use tokio::time::advance;
use tower_key_failover::pool::{KeyPool, KeyPoolBuilder, KeyState};

const TIME: Duration = Duration::from_secs(600);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn builder() -> KeyPoolBuilder {
    KeyPool::builder()
        .key("k0")
        .key("k1")
        .probe_after(TIME)
        .without_probe_jitter()
}

/// A pool whose first key is out, and a harness over it.
fn refused(refusal: MockResponse) -> (Arc<KeyPool>, Harness) {
    let pool = Arc::new(builder().build().unwrap());
    let mut harness = Harness::new(&layer(&pool));
    assert_eq!(harness.keys([refusal, response(200)]), ["k0", "k1"]);
    (pool, harness)
}

/// The same, when it is time to try the key.
async fn due() -> (Arc<KeyPool>, Harness) {
    let (pool, harness) = refused(response(401));
    advance(TIME).await;
    (pool, harness)
}

#[tokio::test(start_paused = true)]
async fn a_permanently_marked_key_is_probed_after_the_interval_and_not_before() {
    let (pool, mut harness) = refused(response(401));
    advance(TIME - MILLI).await;
    assert_eq!(harness.keys([response(200)]), ["k1"]);
    advance(MILLI).await;
    assert_eq!(harness.keys([response(200)]), ["k0"]);
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_cooldown_exceeds_probe_after_is_probed() {
    let (pool, mut harness) = refused(rate_limited("3600"));
    advance(TIME - MILLI).await;
    assert_eq!(harness.keys([response(200)]), ["k1"]);
    advance(MILLI).await;
    assert_eq!(harness.keys([response(200)]), ["k0"]);
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_cooldown_shorter_than_probe_after_is_not_probed() {
    let (pool, mut harness) = refused(rate_limited("600"));
    advance(TIME - MILLI).await;
    assert_eq!(harness.keys([response(200)]), ["k1"]);
    assert_eq!(pool.states()[0], cooling_down(MILLI));
    advance(MILLI).await;
    assert_eq!(harness.keys([response(200)]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn no_key_is_probed_if_probes_are_turned_off() {
    let pool = Arc::new(builder().probe_after(None).build().unwrap());
    let mut harness = Harness::new(&layer(&pool));
    harness.keys([response(401), response(200)]);
    advance(30 * DAY).await;
    assert_eq!(harness.keys([response(200)]), ["k1"]);
}

#[tokio::test(start_paused = true)]
async fn a_probe_is_carried_by_one_request_while_others_use_another_key() {
    let (_, mut harness) = due().await;
    let _trying = harness.send();
    let seen = harness.next_attempt();
    assert_eq!(seen.key, "k0");
    for _ in 0..3 {
        assert_eq!(harness.keys([response(200)]), ["k1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_successful_probe_returns_the_key_to_all_requests() {
    let (_, mut harness) = due().await;
    assert_eq!(harness.keys([response(200)]), ["k0"]);
    let _one = harness.send();
    let _two = harness.send();
    assert_eq!(
        (harness.next_attempt().key, harness.next_attempt().key),
        ("k0".into(), "k0".into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_101_response_to_a_probe_is_a_success() {
    let (pool, mut harness) = due().await;
    assert_eq!(harness.keys([response(101)]), ["k0"]);
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_keeps_the_mark_and_the_request_continues_with_a_valid_key() {
    let (pool, mut harness) = due().await;
    let (keys, response) = harness.run([response(401), response(200)]);
    assert_eq!(
        (keys, response.status()),
        (vec!["k0".into(), "k1".into()], http::StatusCode::OK)
    );
    assert_eq!(pool.states()[0], KeyState::Permanent);
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_restores_the_old_deadline() {
    let (pool, mut harness) = refused(rate_limited("3600"));
    advance(TIME).await;
    assert_eq!(harness.keys([response(429), response(200)]), ["k0", "k1"]);
    assert_eq!(pool.states()[0], cooling_down(3000 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn each_refused_probe_doubles_the_interval_up_to_an_hour() {
    let (_, mut harness) = refused(response(401));
    let mut gap = TIME;
    for _ in 0..10 {
        advance(gap - MILLI).await;
        assert_eq!(harness.keys([response(200)]), ["k1"], "before {gap:?}");
        advance(MILLI).await;
        assert_eq!(
            harness.keys([response(401), response(200)]),
            ["k0", "k1"],
            "after {gap:?}"
        );
        gap = (2 * gap).min(HOUR);
    }
    assert_eq!(gap, HOUR);
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_is_newer_than_a_probe_survives_its_success() {
    let (pool, mut harness) = refused(rate_limited("3600"));
    advance(TIME).await;
    let mut trying = harness.send();
    let seen = harness.next_attempt();
    key(&pool, 0).mark_permanent();
    seen.respond(response(200));
    assert_eq!(trying.status(), 200);
    assert_eq!(pool.states()[0], KeyState::Permanent);

    advance(TIME - MILLI).await;
    assert_eq!(harness.keys([response(200)]), ["k1"]);
    advance(MILLI).await;
    assert_eq!(harness.keys([response(200)]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_request_ends_its_probe_at_once() {
    let (pool, mut harness) = due().await;
    let trying = harness.send();
    let seen = harness.next_attempt();
    drop(trying);
    assert_eq!(pool.states()[0], KeyState::Permanent);
    assert_eq!(harness.keys([response(200)]), ["k0"]);
    drop(seen);
}

#[tokio::test(start_paused = true)]
async fn a_transport_error_ends_a_probe_at_once() {
    let (pool, mut harness) = due().await;
    let mut trying = harness.send();
    harness.next_attempt().fail("connection reset");
    assert!(trying.result().is_err());
    assert_eq!(pool.states()[0], KeyState::Permanent);
    assert_eq!(harness.keys([response(200)]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_response_without_evidence_neither_returns_the_key_nor_doubles_the_interval() {
    for (answers, keys) in [
        (vec![response(500)], vec!["k0"]),
        (vec![response(404)], vec!["k0"]),
        (vec![keep(), response(200)], vec!["k0", "k1"]),
    ] {
        let (pool, mut harness) = due().await;
        assert_eq!(harness.keys(answers), keys);
        assert_eq!(pool.states()[0], KeyState::Permanent);
        advance(TIME - MILLI).await;
        assert_eq!(harness.keys([response(200)]), ["k1"]);
        advance(MILLI).await;
        assert_eq!(harness.keys([response(200)]), ["k0"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_replayed_carries_no_probe_while_a_key_is_valid() {
    let (pool, _) = due().await;
    let mut connect = request("");
    *connect.method_mut() = Method::CONNECT;
    let layer = layer(&pool);
    for (layer, request) in [
        (layer.clone().max_replay_bytes(3), request("long")),
        (layer.clone(), connect),
        (layer.clone().max_attempts(1), request("")),
    ] {
        let (keys, _) = Harness::new(&layer).run_request(request, [response(200)]);
        assert_eq!(keys, ["k1"]);
    }
    assert_eq!(Harness::new(&layer).keys([response(200)]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn any_request_can_carry_a_probe_if_no_key_is_valid() {
    let (pool, _) = due().await;
    key(&pool, 1).mark_permanent();
    advance(SECOND).await;
    let mut harness = Harness::new(&layer(&pool).max_replay_bytes(3));
    let (keys, _) = harness.run_request(request("long"), [response(200)]);
    assert_eq!(keys, ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_carries_no_probe_if_the_only_valid_key_refused_it() {
    let pool = KeyPool::builder().key("k0").key("k1").key("k2");
    let pool = Arc::new(
        pool.probe_after(2 * SECOND)
            .without_probe_jitter()
            .build()
            .unwrap(),
    );
    key(&pool, 0).mark_permanent();
    let mut harness = Harness::new(&layer(&pool).wait_for_key(9 * SECOND));
    let mut request = harness.send();
    harness.next_attempt().respond(keep());
    request.poll();
    harness.next_attempt().respond(rate_limited("3"));
    assert!(request.is_pending());
    advance(2 * SECOND).await;
    // Has it look again, while the first key is due and the second valid.
    pool.replace_keys(["k0", "k1", "k2"]).unwrap();
    assert!(request.is_woken() && request.is_pending());
    assert!(harness.try_next_attempt().is_none());
    assert_eq!(harness.keys([response(200)]), ["k0"], "another can go on");
}

#[tokio::test(start_paused = true)]
async fn a_due_key_that_cannot_be_probed_does_not_hide_another() {
    let pool = KeyPool::builder()
        .key("k0")
        .group("org")
        .key("k1")
        .group("org");
    let pool = pool.key("k2").key("k3").without_probe_jitter();
    let pool = Arc::new(pool.build().unwrap());
    key(&pool, 0).mark_permanent();
    key(&pool, 2).mark_permanent();
    key(&pool, 1).mark_temporary(Some(SECOND));
    advance(60 * SECOND - MILLI).await;
    let mut harness = Harness::new(&layer(&pool));
    // The group's cooldown has ended, and one request has its only place.
    let _trying = harness.send();
    assert_eq!(harness.next_attempt().key, "k1");
    advance(MILLI).await;
    assert_eq!(harness.keys([response(200)]), ["k2"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_probes_one_key_at_most() {
    let (pool, mut harness) = refused(response(401));
    key(&pool, 1).mark_permanent();
    assert_eq!(harness.send().status(), 502);
    advance(TIME).await;
    let (keys, exhausted) = harness.run([response(401)]);
    assert_eq!(
        (keys, exhausted.status().as_u16()),
        (vec!["k0".into()], 502)
    );
    advance(2 * SECOND).await;
    assert_eq!(harness.keys([response(200)]), ["k1"]);
    assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn a_disabled_key_is_never_probed() {
    let (pool, mut harness) = refused(response(401));
    pool.disable(0).unwrap();
    advance(30 * DAY).await;
    assert_eq!(harness.keys([response(200)]), ["k1"]);
    pool.disable(1).unwrap();
    advance(30 * DAY).await;
    assert_eq!(harness.send().status(), 502);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_disabled_during_its_probe_stays_disabled() {
    let (pool, mut harness) = due().await;
    let mut trying = harness.send();
    let seen = harness.next_attempt();
    pool.disable(0).unwrap();
    seen.respond(response(200));
    assert_eq!(trying.status(), 200);
    assert_eq!(pool.states()[0], KeyState::Permanent);
    advance(30 * DAY).await;
    assert_eq!(harness.keys([response(200)]), ["k1"]);
}

#[tokio::test(start_paused = true)]
async fn a_successful_probe_of_one_key_returns_its_whole_group() {
    let pool = KeyPool::builder()
        .key("k0")
        .group("org")
        .key("k1")
        .group("org");
    let pool = pool
        .key("k2")
        .probe_after(TIME)
        .without_probe_jitter()
        .build()
        .unwrap();
    let pool = Arc::new(pool);
    let mut harness = Harness::new(&layer(&pool));
    assert_eq!(
        harness.keys([rate_limited("3600"), response(200)]),
        ["k0", "k2"]
    );
    advance(TIME).await;
    let mut trying = harness.send();
    let seen = harness.next_attempt();
    assert_eq!(seen.key, "k0");
    assert_eq!(harness.keys([response(200)]), ["k2"]);
    seen.respond(response(200));
    assert_eq!(trying.status(), 200);
    assert_eq!(pool.states(), [KeyState::Valid; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_permanently_marked_key_of_a_group_is_probed_alone() {
    let pool = KeyPool::builder()
        .key("k0")
        .group("org")
        .key("k1")
        .group("org");
    let pool = Arc::new(
        pool.probe_after(TIME)
            .without_probe_jitter()
            .build()
            .unwrap(),
    );
    let mut harness = Harness::new(&layer(&pool));
    assert_eq!(harness.keys([response(401), response(200)]), ["k0", "k1"]);
    advance(TIME).await;
    assert_eq!(harness.keys([response(200)]), ["k0"]);
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_new_outage_starts_with_the_initial_probe_interval() {
    let (_, mut harness) = refused(rate_limited("3000"));
    for gap in [TIME, 2 * TIME] {
        advance(gap).await;
        assert_eq!(harness.keys([response(429), response(200)]), ["k0", "k1"]);
    }
    // It returns by itself, serves, and is refused anew.
    advance(TIME * 2).await;
    assert_eq!(harness.keys([response(200)]), ["k0"]);
    assert_eq!(
        harness.keys([rate_limited("3600"), response(200)]),
        ["k0", "k1"]
    );
    advance(TIME).await;
    assert_eq!(harness.keys([response(200)]), ["k0"]);
}
