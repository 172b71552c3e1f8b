//! The snapshot of a pool.

use test_support::harness::{Harness, SECOND, cooling_down, key, rate_limited};
use test_support::mock::{layer, response};
use tokio::time::advance;
use tower_key_failover::pool::{KeyPool, KeyState, Reason};

#[tokio::test(start_paused = true)]
async fn a_snapshot_shows_each_key_in_order_with_its_label_hint_group_and_state() {
    let pool = KeyPool::builder()
        .name("search")
        .labeled_key("a", "sk-canary-canary-0");
    let pool = pool.group("org").key("sk-canary-canary-1").build().unwrap();
    key(&pool, 0).mark_temporary(Some(3 * SECOND));
    let snapshot = pool.snapshot();
    assert_eq!(&*snapshot.name, "search");
    let [first, second] = &snapshot.keys[..] else {
        panic!("two keys");
    };
    assert_eq!(
        (first.label.as_deref(), first.group.as_deref()),
        (Some("a"), Some("org"))
    );
    assert_eq!(
        (second.label.as_deref(), second.group.as_deref()),
        (None, None)
    );
    assert_eq!((&*first.hint, &*second.hint), ("sk...-0", "sk...-1"));
    assert_eq!(
        (first.state, second.state),
        (cooling_down(3 * SECOND), KeyState::Valid)
    );
    let printed = format!("{snapshot:?} {snapshot:#?}");
    assert!(!printed.contains("canary"), "{printed}");
}

#[tokio::test(start_paused = true)]
async fn the_remaining_wait_counts_down_and_a_snapshot_does_not_change() {
    let pool = KeyPool::new(["k0"]).unwrap();
    key(&pool, 0).mark_temporary(Some(3 * SECOND));
    let before = pool.snapshot();
    advance(SECOND).await;
    assert_eq!(pool.snapshot().keys[0].state, cooling_down(2 * SECOND));
    assert_eq!(before.keys[0].state, cooling_down(3 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_shows_the_reason_of_the_last_mark() {
    let pool = std::sync::Arc::new(KeyPool::new(["k0", "k1"]).unwrap());
    let reason = || pool.snapshot().keys[0].reason;
    assert_eq!(reason(), None);
    let mut harness = Harness::new(&layer(&pool));
    harness.keys([rate_limited("1"), response(200)]);
    assert_eq!(reason(), Some(Reason::RateLimited));
    advance(SECOND).await;
    assert_eq!(
        reason(),
        Some(Reason::RateLimited),
        "it is told of the last, though it is over"
    );
    harness.keys([response(403), response(200)]);
    assert_eq!(reason(), Some(Reason::Forbidden));
    pool.disable(0).unwrap();
    assert_eq!(reason(), Some(Reason::Operator));
    pool.reinstate(0).unwrap();
    assert_eq!(reason(), None);
    assert_eq!(pool.snapshot().keys[1].reason, None);
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_changed_nothing_does_not_change_the_reason() {
    let pool = std::sync::Arc::new(KeyPool::new(["k0"]).unwrap());
    let mut harness = Harness::new(&layer(&pool));
    let (mut one, mut two) = (harness.send(), harness.send());
    harness.next_attempt().respond(response(401));
    harness.next_attempt().respond(rate_limited("5"));
    assert_eq!((one.status(), two.status()), (502, 502));
    assert_eq!(pool.snapshot().keys[0].reason, Some(Reason::Unauthorized));
}

#[tokio::test(start_paused = true)]
async fn siblings_show_the_reason_of_their_group() {
    let pool = KeyPool::builder()
        .key("k0")
        .group("org")
        .key("k1")
        .group("org");
    let pool = std::sync::Arc::new(pool.key("k2").build().unwrap());
    Harness::new(&layer(&pool)).keys([rate_limited("5"), response(200)]);
    let reasons: Vec<_> = pool.snapshot().keys.iter().map(|key| key.reason).collect();
    assert_eq!(
        reasons,
        [Some(Reason::RateLimited), Some(Reason::RateLimited), None]
    );
}

#[tokio::test(start_paused = true)]
async fn siblings_show_the_reason_of_their_group_after_its_cooldown() {
    let pool = KeyPool::builder().key("k0").group("org").build().unwrap();
    let pool = std::sync::Arc::new(pool);
    assert_eq!(pool.snapshot().keys[0].reason, None);
    Harness::new(&layer(&pool)).keys([rate_limited("5")]);
    advance(5 * SECOND).await;
    let key = &pool.snapshot().keys[0];
    assert_eq!(
        (key.state, key.reason),
        (KeyState::Valid, Some(Reason::RateLimited))
    );
}
