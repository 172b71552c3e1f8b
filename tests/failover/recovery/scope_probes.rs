//! Probes of keys for requests with a scope.

use std::sync::Arc;

use test_support::harness::{Harness, MILLI, SECOND, key};
use test_support::mock::{layer, request, response};
use tokio::time::advance;
use tower_key_failover::pool::{KeyChoice, KeyPool, KeyState};

use crate::scoped_requests::{keys, limited, no_access, of};

/// Two keys, of which the first may not use the scope `m`.
fn without_access() -> (Arc<KeyPool>, Harness) {
    let pool = KeyPool::builder()
        .labeled_key("first", "k0")
        .labeled_key("second", "k1");
    let pool = Arc::new(pool.without_probe_jitter().build().unwrap());
    let mut provider = Harness::new(&layer(&pool));
    let seen = keys(&mut provider, "m", [no_access(), response(200)]);
    assert_eq!(seen, ["k0", "k1"]);
    (pool, provider)
}

#[tokio::test(start_paused = true)]
async fn a_probe_of_the_pool_leaves_out_keys_whose_scope_is_closed() {
    let (pool, mut provider) = without_access();
    key(&pool, 0).mark_permanent();
    key(&pool, 1).mark_permanent();
    advance(SECOND).await;
    assert_eq!(keys(&mut provider, "m", [response(200)]), ["k1"]);
    assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn the_pool_is_probed_if_no_key_is_usable_in_the_scope_of_the_request() {
    let (pool, mut provider) = without_access();
    key(&pool, 1).mark_permanent();
    advance(SECOND).await;
    assert_eq!(keys(&mut provider, "m", [response(200)]), ["k1"]);
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_requires_one_key_probes_it_when_it_is_due() {
    let (pool, mut provider) = without_access();
    key(&pool, 1).mark_permanent();
    let pinned = || {
        let mut request = request("body");
        request
            .extensions_mut()
            .insert(KeyChoice::new().pin_key("second"));
        request
    };
    advance(60 * SECOND - MILLI).await;
    assert!(provider.run_request(pinned(), []).0.is_empty());
    advance(MILLI).await;
    assert_eq!(provider.run_request(pinned(), [response(200)]).0, ["k1"]);
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}

/// Two keys whose cooldowns are probed after ten seconds. That of the first in the scope `m` ends in an
/// hour.
fn probed() -> (Arc<KeyPool>, Harness) {
    let pool = KeyPool::builder()
        .key("k0")
        .key("k1")
        .probe_after(10 * SECOND);
    let pool = Arc::new(pool.without_probe_jitter().build().unwrap());
    let mut provider = Harness::new(&layer(&pool));
    let seen = keys(&mut provider, "m", [limited("3600"), response(200)]);
    assert_eq!(seen, ["k0", "k1"]);
    (pool, provider)
}

#[tokio::test(start_paused = true)]
async fn a_long_cooldown_of_a_scope_is_probed_if_that_of_a_key_is() {
    let (pool, mut provider) = probed();
    advance(10 * SECOND - MILLI).await;
    assert_eq!(keys(&mut provider, "m", [response(200)]), ["k1"]);
    advance(MILLI).await;
    assert_eq!(keys(&mut provider, "m", [response(200)]), ["k0"]);
    assert_eq!(keys(&mut provider, "m", [response(200)]), ["k0"]);
    assert!(pool.snapshot().keys[0].scopes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refused_probe_of_a_scope_doubles_the_interval() {
    let (_, mut provider) = probed();
    let mut now = 0;
    for due in [10, 30, 70] {
        for (at, expected) in [(due * 1000 - 1, &["k1"][..]), (due * 1000, &["k0", "k1"])] {
            advance(MILLI * (at - now)).await;
            now = at;
            let mut request = provider.send_request(of("m"));
            for expected in expected {
                let attempt = provider.next_attempt();
                assert_eq!(attempt.key, *expected, "after {now} ms");
                attempt.respond(match *expected {
                    "k0" => limited("3600"),
                    _ => response(200),
                });
                let _ = request.is_pending();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_request_at_a_time_probes_a_scope() {
    let (_, mut provider) = probed();
    advance(10 * SECOND).await;
    let probing = provider.send_request(of("m"));
    assert_eq!(provider.next_attempt().key, "k0");
    assert_eq!(keys(&mut provider, "m", [response(200)]), ["k1"]);
    assert_eq!(keys(&mut provider, "other", [response(200)]), ["k0"]);
    drop(probing);
    assert_eq!(keys(&mut provider, "m", [response(200)]), ["k0"]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_has_probed_a_key_probes_no_scope() {
    let pool = KeyPool::builder()
        .key("k0")
        .key("k1")
        .key("k2")
        .probe_after(10 * SECOND);
    let pool = Arc::new(pool.without_probe_jitter().build().unwrap());
    let mut provider = Harness::new(&layer(&pool));
    keys(
        &mut provider,
        "m",
        [limited("3600"), limited("3600"), response(200)],
    );
    advance(10 * SECOND).await;
    let seen = keys(&mut provider, "m", [limited("3600"), response(200)]);
    assert_eq!(seen, ["k0", "k2"]);
    assert_eq!(keys(&mut provider, "m", [response(200)]), ["k1"]);
}

#[tokio::test(start_paused = true)]
async fn a_scope_is_probed_if_no_other_key_is_usable() {
    let pool = KeyPool::builder().key("k0").probe_after(10 * SECOND);
    let pool = Arc::new(pool.without_probe_jitter().build().unwrap());
    let mut provider = Harness::new(&layer(&pool));
    keys(&mut provider, "m", [limited("3600")]);
    // Requests without the scope do not notice it.
    advance(10 * SECOND).await;
    assert_eq!(provider.keys([response(200)]), ["k0"]);
    assert_eq!(keys(&mut provider, "m", [response(200)]), ["k0"]);
}
