//! Without configuration, permanently marked keys are probed.

use std::sync::Arc;
use std::time::Duration;

use test_support::harness::{Harness, MILLI, SECOND, cooling_down, key, rate_limited};
use test_support::mock::{layer, pool, response};
use tokio::time::{Instant, advance};
use tower_key_failover::pool::{KeyPool, KeyState, NewKey};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

fn since(start: Instant) -> Duration {
    Instant::now().saturating_duration_since(start)
}

/// A pool whose keys were all marked permanently.
fn killed<const N: usize>(keys: [&'static str; N]) -> (Arc<KeyPool>, Harness) {
    let pool = pool(keys);
    let mut harness = Harness::new(&layer(&pool));
    let (seen, exhausted) = harness.run(keys.map(|_| response(401)));
    assert_eq!((seen.len(), exhausted.status().as_u16()), (N, 502));
    assert!(pool.states().iter().all(|it| *it == KeyState::Permanent));
    (pool, harness)
}

/// Sends a request every `interval`. The provider refuses all until `recovery`. Returns how long after
/// that a request was served, and how many attempts were wasted.
async fn outage(
    harness: &mut Harness,
    recovery: Duration,
    interval: Duration,
) -> (Duration, usize) {
    let start = Instant::now();
    let mut wasted = 0;
    loop {
        let has_recovered = since(start) >= recovery;
        let mut request = harness.send();
        if let Some(attempt) = harness.try_next_attempt() {
            if has_recovered {
                attempt.respond(response(200));
                assert_eq!(request.status(), 200);
                return (since(start) - recovery, wasted);
            }
            wasted += 1;
            attempt.respond(response(401));
            request.poll();
            assert!(harness.try_next_attempt().is_none(), "one probe at a time");
        }
        assert_eq!(request.status(), 502);
        advance(interval).await;
        assert!(since(start) < recovery + MINUTE, "it never recovers");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_was_killed_by_mistake_serves_again_within_two_seconds() {
    for _ in 0..20 {
        let (_, mut harness) = killed(["k0", "k1", "k2"]);
        let (took, wasted) = outage(&mut harness, Duration::ZERO, 10 * MILLI).await;
        assert!(took < 2 * SECOND, "{took:?}");
        assert_eq!(wasted, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_serves_again_within_eight_seconds_after_a_long_outage() {
    for _ in 0..5 {
        let (_, mut harness) = killed(["k0", "k1", "k2"]);
        let (took, wasted) = outage(&mut harness, HOUR, 100 * MILLI).await;
        assert!(took < 8 * SECOND, "{took:?}");
        // One every five seconds on average.
        assert!((600..900).contains(&wasted), "{wasted}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_probes_of_a_pool_without_a_usable_key_take_turns() {
    let (_, mut harness) = killed(["k0", "k1", "k2"]);
    let mut seen = Vec::new();
    while seen.len() < 6 {
        advance(8 * SECOND).await;
        seen.extend(harness.keys([response(401)]));
    }
    assert_eq!(seen, ["k0", "k1", "k2", "k0", "k1", "k2"]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_key_is_probed_after_a_minute_then_at_growing_intervals() {
    for _ in 0..2 {
        let pool = pool(["k0", "k1"]);
        let mut harness = Harness::new(&layer(&pool));
        assert_eq!(harness.keys([response(401), response(200)]), ["k0", "k1"]);
        let mut last = Instant::now();
        for doublings in 0..8 {
            let interval = (MINUTE * (1 << doublings)).min(HOUR);
            while {
                let mut request = harness.send();
                let attempt = harness.next_attempt();
                let is_probe = attempt.key == "k0";
                attempt.respond(response(if is_probe { 401 } else { 200 }));
                request.poll();
                if is_probe {
                    harness.next_attempt().respond(response(200));
                }
                assert_eq!(request.status(), 200);
                !is_probe
            } {
                advance(10 * SECOND).await;
            }
            let took = since(last);
            let allowed = interval / 2..=interval * 3 / 2 + 20 * SECOND;
            assert!(allowed.contains(&took), "{took:?} instead of {interval:?}");
            last = Instant::now();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hung_probe_blocks_others_for_five_seconds() {
    let pool = KeyPool::builder().key("k0").key("k1");
    let pool = Arc::new(pool.without_probe_jitter().build().unwrap());
    let mut harness = Harness::new(&layer(&pool));
    key(&pool, 0).mark_permanent();
    advance(MINUTE).await;
    let mut hung = harness.send();
    let late = harness.next_attempt();
    assert_eq!(late.key, "k0");
    advance(5 * SECOND - MILLI).await;
    assert_eq!(harness.keys([response(200)]), ["k1"]);
    advance(MILLI).await;
    assert_eq!(harness.keys([response(401), response(200)]), ["k0", "k1"]);

    // A late success still counts.
    late.respond(response(200));
    assert_eq!(hung.status(), 200);
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_hung_probe_of_the_pool_blocks_others_for_five_seconds() {
    let (_, mut harness) = killed(["k0", "k1"]);
    advance(2 * SECOND).await;
    let _hung = harness.send();
    let _late = harness.next_attempt();
    advance(4 * SECOND).await;
    assert_eq!(harness.send().status(), 502);
    advance(SECOND).await;
    assert_eq!(harness.keys([response(200)]), ["k1"]);
}

#[tokio::test(start_paused = true)]
async fn a_429_during_a_probe_becomes_a_cooldown() {
    let (pool, mut harness) = killed(["k0"]);
    advance(2 * SECOND).await;
    let (keys, limited) = harness.run([rate_limited("7")]);
    assert_eq!((keys, limited.status().as_u16()), (vec!["k0".into()], 429));
    assert_eq!(pool.states(), [cooling_down(7 * SECOND)]);
    advance(7 * SECOND).await;
    assert_eq!(harness.keys([response(200)]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_another_reason_does_not_double_the_interval() {
    let pool = KeyPool::builder().key("k0").key("k1");
    let pool = Arc::new(pool.without_probe_jitter().build().unwrap());
    let mut harness = Harness::new(&layer(&pool));
    assert_eq!(harness.keys([response(401), response(200)]), ["k0", "k1"]);
    advance(MINUTE).await;
    assert_eq!(harness.keys([response(403), response(200)]), ["k0", "k1"]);
    advance(MINUTE - MILLI).await;
    assert_eq!(harness.keys([response(200)]), ["k1"]);
    advance(MILLI).await;
    assert_eq!(harness.keys([response(200)]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_cooldown_is_not_probed_by_default() {
    let pool = pool(["k0", "k1"]);
    let mut harness = Harness::new(&layer(&pool));
    assert_eq!(
        harness.keys([rate_limited("36000"), response(200)]),
        ["k0", "k1"]
    );
    advance(9 * HOUR).await;
    assert_eq!(harness.keys([response(200)]), ["k1"]);
}

#[tokio::test(start_paused = true)]
async fn a_disabled_key_is_not_probed_even_if_no_key_is_usable() {
    let (pool, mut harness) = killed(["k0", "k1"]);
    pool.disable(0).unwrap();
    advance(8 * SECOND).await;
    assert_eq!(harness.keys([response(401)]), ["k1"]);
    advance(8 * SECOND).await;
    assert_eq!(harness.keys([response(401)]), ["k1"]);
    pool.disable(1).unwrap();
    advance(HOUR).await;
    assert_eq!(harness.send().status(), 502);
    assert!(harness.try_next_attempt().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_request_with_many_due_keys_wastes_one_attempt() {
    let keys: Vec<String> = (0..100).map(|at| format!("k{at}")).collect();
    let pool = KeyPool::new(keys.iter().map(String::as_str)).unwrap();
    let pool = Arc::new(pool);
    let mut harness = Harness::new(&layer(&pool));
    for at in 0..99 {
        key(&pool, at).mark_permanent();
    }
    advance(HOUR).await;
    assert_eq!(harness.keys([response(401), response(200)]), ["k0", "k99"]);
    assert_eq!(harness.keys([response(401), response(200)]), ["k1", "k99"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_replaced_during_its_probe_is_not_returned() {
    let (pool, mut harness) = killed(["k0", "k1"]);
    advance(2 * SECOND).await;
    let mut request = harness.send();
    let attempt = harness.next_attempt();
    assert_eq!(attempt.key, "k0");
    pool.replace_keys(["k1"].map(NewKey::from)).unwrap();
    attempt.respond(response(200));
    assert_eq!(request.status(), 200);
    assert_eq!(pool.states(), [KeyState::Permanent]);
    // The probe of the pool has ended all the same.
    advance(8 * SECOND).await;
    assert_eq!(harness.keys([response(200)]), ["k1"]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_lets_the_next_request_probe_at_once() {
    let (_, mut harness) = killed(["k0"]);
    advance(2 * SECOND).await;
    for _ in 0..3 {
        let request = harness.send();
        let attempt = harness.next_attempt();
        drop(request);
        drop(attempt);
    }
    assert_eq!(harness.keys([response(200)]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn probes_that_are_refused_for_the_same_new_reason_double_the_interval() {
    let pool = KeyPool::builder().key("k0").key("k1");
    let pool = Arc::new(pool.without_probe_jitter().build().unwrap());
    let mut harness = Harness::new(&layer(&pool));
    assert_eq!(harness.keys([response(403), response(200)]), ["k0", "k1"]);
    for interval in [MINUTE, MINUTE, 2 * MINUTE, 4 * MINUTE] {
        advance(interval - MILLI).await;
        assert_eq!(harness.keys([response(200)]), ["k1"], "before {interval:?}");
        advance(MILLI).await;
        let keys = harness.keys([response(401), response(200)]);
        assert_eq!(keys, ["k0", "k1"], "after {interval:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mark_during_a_probe_of_the_pool_starts_no_second_probe() {
    let (pool, mut harness) = killed(["k0", "k1"]);
    advance(2 * SECOND).await;
    let _probing = harness.send();
    let _attempt = harness.next_attempt();
    pool.add_key("k2").unwrap();
    key(&pool, 2).mark_permanent();
    advance(2 * SECOND).await;
    assert_eq!(harness.send().status(), 502);
    assert!(harness.try_next_attempt().is_none());
}
