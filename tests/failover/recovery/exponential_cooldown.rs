//! Refusals that name no wait put a key out for longer each time.

use std::sync::Arc;
use std::time::Duration;

use test_support::harness::{Harness, SECOND, cooling_down, key, rate_limited};
use test_support::mock::{layer, response};
use tokio::time::advance;
use tower_key_failover::pool::{KeyPool, KeyPoolBuilder, KeyState};

const BOUND: Duration = Duration::from_secs(35);

fn builder() -> KeyPoolBuilder {
    KeyPool::builder()
        .key("k0")
        .exponential_cooldown(10 * SECOND..=BOUND)
}

fn harness(builder: KeyPoolBuilder) -> (Arc<KeyPool>, Harness) {
    let pool = Arc::new(builder.build().unwrap());
    let harness = Harness::new(&layer(&pool));
    (pool, harness)
}

/// For how long the key is out after a 429 without a wait; then that is over.
async fn cooldown(pool: &KeyPool, harness: &mut Harness) -> u64 {
    harness.run([response(429)]);
    let KeyState::Temporary { retry_after } = pool.states()[0] else {
        panic!("the key is out");
    };
    advance(retry_after).await;
    retry_after.as_secs()
}

#[tokio::test(start_paused = true)]
async fn each_cooldown_doubles_the_previous_one_up_to_the_bound() {
    let (pool, mut harness) = harness(builder());
    for expected in [10, 20, 35, 35] {
        assert_eq!(cooldown(&pool, &mut harness).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn without_exponential_cooldown_the_default_stays_constant() {
    let (pool, mut harness) = harness(KeyPool::builder().key("k0").default_cooldown(10 * SECOND));
    for _ in 0..3 {
        assert_eq!(cooldown(&pool, &mut harness).await, 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_resets_the_exponential_cooldown() {
    for status in [200, 101] {
        let (pool, mut harness) = harness(builder());
        cooldown(&pool, &mut harness).await;
        assert_eq!(harness.keys([response(status)]), ["k0"]);
        assert_eq!(cooldown(&pool, &mut harness).await, 10, "after a {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_no_success_does_not_reset_the_exponential_cooldown() {
    let (pool, mut harness) = harness(builder());
    cooldown(&pool, &mut harness).await;
    harness.run([response(500)]);
    assert_eq!(cooldown(&pool, &mut harness).await, 20);
}

#[tokio::test(start_paused = true)]
async fn a_wait_named_by_the_provider_is_used_and_does_not_double_later_cooldowns() {
    let (pool, mut harness) = harness(builder());
    cooldown(&pool, &mut harness).await;
    harness.run([rate_limited("3")]);
    assert_eq!(pool.states()[0], cooling_down(3 * SECOND));
    advance(3 * SECOND).await;
    assert_eq!(cooldown(&pool, &mut harness).await, 20);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_refusals_doubles_the_cooldown_once() {
    let (pool, mut harness) = harness(builder());
    let mut requests: Vec<_> = (0..3).map(|_| harness.send()).collect();
    for request in &mut requests {
        harness.next_attempt().respond(response(429));
        assert_eq!(request.status(), 429);
    }
    assert_eq!(pool.states()[0], cooling_down(10 * SECOND));
    advance(10 * SECOND).await;
    assert_eq!(cooldown(&pool, &mut harness).await, 20);
}

#[tokio::test(start_paused = true)]
async fn a_success_that_began_before_the_cooldown_does_not_reset_it() {
    let (pool, mut harness) = harness(builder());
    let mut early = harness.send();
    let seen = harness.next_attempt();
    harness.run([response(429)]);
    seen.respond(response(200));
    assert_eq!(early.status(), 200);
    advance(10 * SECOND).await;
    assert_eq!(cooldown(&pool, &mut harness).await, 20);
}

#[tokio::test(start_paused = true)]
async fn max_cooldown_caps_the_exponential_cooldown() {
    let (pool, mut harness) = harness(builder().max_cooldown(15 * SECOND));
    for expected in [10, 15, 15] {
        assert_eq!(cooldown(&pool, &mut harness).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn keys_of_a_group_share_one_exponential_cooldown() {
    let (pool, mut harness) = harness(builder().group("org").key("k1").group("org"));
    assert_eq!(cooldown(&pool, &mut harness).await, 10);
    key(&pool, 1).mark_temporary(None);
    assert_eq!(pool.states(), [cooling_down(20 * SECOND); 2]);
}

#[tokio::test(start_paused = true)]
async fn a_successful_probe_resets_the_exponential_cooldown() {
    let (pool, mut harness) = harness(builder().probe_after(5 * SECOND).without_probe_jitter());
    cooldown(&pool, &mut harness).await;
    harness.run([response(429)]);
    assert_eq!(pool.states()[0], cooling_down(20 * SECOND));
    advance(5 * SECOND).await;
    assert_eq!(harness.keys([response(200)]), ["k0"]);
    assert_eq!(cooldown(&pool, &mut harness).await, 10);
}

#[tokio::test(start_paused = true)]
async fn a_reinstatement_resets_the_exponential_cooldown() {
    let (pool, mut harness) = harness(builder());
    cooldown(&pool, &mut harness).await;
    harness.run([response(429)]);
    pool.reinstate(0).unwrap();
    assert_eq!(cooldown(&pool, &mut harness).await, 10);
}
