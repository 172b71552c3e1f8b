//! Keys of one organisation, which share a limit.

use std::sync::Arc;

use test_support::harness::{Harness, SECOND, cooling_down, key, rate_limited};
use test_support::mock::{layer, response};
use tokio::time::advance;
use tower_key_failover::pool::{BuildError, KeyPool, KeyState, Marked, NewKey};

/// Two keys of one organisation, and one of another.
fn pool() -> Arc<KeyPool> {
    let pool = KeyPool::builder().labeled_key("a", "k0").group("org");
    let pool = pool.labeled_key("b", "k1").group("org").key("k2");
    Arc::new(pool.build().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_cooldown_of_one_key_applies_to_its_group() {
    let pool = pool();
    assert_eq!(
        key(&pool, 0).mark_temporary(Some(SECOND)),
        Marked::Transitioned
    );
    assert_eq!(
        pool.states(),
        [cooling_down(SECOND), cooling_down(SECOND), KeyState::Valid]
    );
    advance(SECOND).await;
    assert_eq!(pool.states(), [KeyState::Valid; 3]);
}

#[tokio::test(start_paused = true)]
async fn siblings_of_a_rate_limited_key_are_not_tried() {
    let mut harness = Harness::new(&layer(&pool()));
    assert_eq!(
        harness.keys([rate_limited("5"), response(200)]),
        ["k0", "k2"]
    );
    assert_eq!(harness.keys([response(200)]), ["k2"]);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_mark_applies_to_the_key_only() {
    let pool = pool();
    key(&pool, 0).mark_permanent();
    assert_eq!(
        pool.states(),
        [KeyState::Permanent, KeyState::Valid, KeyState::Valid]
    );
    let mut harness = Harness::new(&layer(&pool));
    assert_eq!(harness.keys([response(401), response(200)]), ["k1", "k2"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_marked_until_the_later_of_its_own_and_its_groups_deadline() {
    let pool = pool();
    pool.replace_keys(["k0", "k1", "k2"]).unwrap();
    key(&pool, 0).mark_temporary(Some(5 * SECOND));
    let grouped = |key| NewKey::new(key).group("org");
    pool.replace_keys([grouped("k0"), grouped("k1"), NewKey::from("k2")])
        .unwrap();
    assert_eq!(
        pool.states()[..2],
        [cooling_down(5 * SECOND), KeyState::Valid]
    );
    assert_eq!(
        key(&pool, 1).mark_temporary(Some(3 * SECOND)),
        Marked::Transitioned
    );
    assert_eq!(
        pool.states()[..2],
        [cooling_down(5 * SECOND), cooling_down(3 * SECOND)]
    );
    assert_eq!(
        key(&pool, 1).mark_temporary(Some(9 * SECOND)),
        Marked::Extended
    );
    assert_eq!(
        pool.states()[..2],
        [cooling_down(9 * SECOND), cooling_down(9 * SECOND)]
    );
}

#[tokio::test(start_paused = true)]
async fn the_result_of_a_mark_describes_the_marked_key() {
    let pool = pool();
    pool.replace_keys(["k0"]).unwrap();
    key(&pool, 0).mark_temporary(Some(5 * SECOND));
    pool.replace_keys([
        NewKey::new("k0").group("org"),
        NewKey::new("k1").group("org"),
    ])
    .unwrap();
    assert_eq!(
        key(&pool, 0).mark_temporary(Some(3 * SECOND)),
        Marked::Unchanged
    );
    assert_eq!(
        pool.states(),
        [cooling_down(5 * SECOND), cooling_down(3 * SECOND)]
    );
    assert_eq!(
        key(&pool, 0).mark_temporary(Some(9 * SECOND)),
        Marked::Extended
    );
    key(&pool, 0).mark_permanent();
    assert_eq!(
        key(&pool, 0).mark_temporary(Some(20 * SECOND)),
        Marked::Unchanged
    );
    assert_eq!(
        pool.states(),
        [KeyState::Permanent, cooling_down(20 * SECOND)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_reinstatement_returns_the_key_and_its_group() {
    let pool = pool();
    key(&pool, 0).mark_temporary(Some(SECOND));
    let late = key(&pool, 1);
    assert_eq!(pool.reinstate("b"), Ok(true));
    let out = cooling_down(SECOND);
    assert_eq!(pool.states(), [out, KeyState::Valid, KeyState::Valid]);
    assert_eq!(late.mark_temporary(None), Marked::Unchanged);
    assert_eq!(pool.reinstate("a"), Ok(true));
    assert_eq!(pool.states(), [KeyState::Valid; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_disabled_key_leaves_its_group_alone() {
    let pool = pool();
    pool.disable("a").unwrap();
    assert_eq!(
        pool.states(),
        [KeyState::Permanent, KeyState::Valid, KeyState::Valid]
    );
}

#[tokio::test(start_paused = true)]
async fn a_group_keeps_its_state_across_reloads_and_new_keys_share_it() {
    let pool = pool();
    key(&pool, 0).mark_temporary(Some(9 * SECOND));
    pool.replace_keys([
        NewKey::new("k7").group("org"),
        NewKey::new("k1").group("org"),
    ])
    .unwrap();
    assert_eq!(pool.states(), [cooling_down(9 * SECOND); 2]);
    pool.add_key(NewKey::new("k8").group("org")).unwrap();
    assert_eq!(pool.states()[2], cooling_down(9 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_was_removed_and_added_again_is_new() {
    let pool = pool();
    key(&pool, 0).mark_temporary(Some(9 * SECOND));
    pool.replace_keys(["k2"]).unwrap();
    pool.add_key(NewKey::new("k1").group("org")).unwrap();
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_refused_keeps_its_mark_when_it_changes_its_group() {
    for group in [None, Some("other")] {
        let pool = pool();
        key(&pool, 0).mark_temporary(Some(9 * SECOND));
        let moved = |key| match group {
            None => NewKey::new(key),
            Some(group) => NewKey::new(key).group(group),
        };
        pool.replace_keys([moved("k0"), moved("k1"), moved("k2")])
            .unwrap();
        let out = cooling_down(9 * SECOND);
        let valid = KeyState::Valid;
        assert_eq!(pool.states(), [out, valid, valid], "{group:?}");
        advance(9 * SECOND).await;
        assert_eq!(pool.states(), [KeyState::Valid; 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalid_list_leaves_keys_and_groups_unchanged() {
    let pool = pool();
    key(&pool, 0).mark_temporary(Some(9 * SECOND));
    pool.replace_keys(["k0", "k1", "k1"]).unwrap_err();
    pool.reinstate("a").unwrap();
    assert_eq!(pool.states(), [KeyState::Valid; 3]);
}

#[test]
fn a_group_before_any_key_is_an_error() {
    let error = KeyPool::builder()
        .group("org")
        .key("k0")
        .build()
        .unwrap_err();
    assert!(matches!(
        error,
        BuildError::SettingWithoutKey {
            setting: "group",
            ..
        }
    ));
}
