//! Adding, removing, reinstating and disabling one key.

use test_support::harness::{SECOND, cooling_down, key};
use tokio::time::advance;
use tower_key_failover::pool::{BuildError, ChangeError, KeyPool, KeyState, Marked, NewKey};

fn pool() -> KeyPool {
    KeyPool::builder()
        .labeled_key("a", "k0")
        .labeled_key("b", "k1")
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_added_key_comes_last_and_changes_no_other_key() {
    let pool = pool();
    key(&pool, 0).mark_temporary(Some(SECOND));
    pool.add_key(NewKey::new("k2").label("c")).unwrap();
    assert_eq!(
        pool.states(),
        [cooling_down(SECOND), KeyState::Valid, KeyState::Valid]
    );
    let labels: Vec<_> = pool
        .keys()
        .map(|key| key.label().map(str::to_owned))
        .collect();
    assert_eq!(
        labels,
        [Some("a".into()), Some("b".into()), Some("c".into())]
    );
}

#[test]
fn duplicate_and_invalid_keys_are_not_added() {
    let pool = pool();
    assert!(matches!(
        pool.add_key("k1").unwrap_err(),
        BuildError::DuplicateKey {
            first: 1,
            position: 2,
            ..
        }
    ));
    assert!(matches!(
        pool.add_key("\n").unwrap_err(),
        BuildError::InvalidKey { position: 2, .. }
    ));
    assert_eq!(pool.len(), 2);
}

#[test]
fn a_key_is_removed_by_its_label_or_its_position() {
    let by_label = pool();
    by_label.remove_key("a").unwrap();
    assert_eq!(key(&by_label, 0).label(), Some("b"));
    let by_position = pool();
    by_position.remove_key(1).unwrap();
    assert_eq!(key(&by_position, 0).label(), Some("a"));
    assert_eq!((by_label.len(), by_position.len()), (1, 1));
}

#[test]
fn the_last_key_cannot_be_removed() {
    let pool = pool();
    let last = key(&pool, 1);
    pool.remove_key(0).unwrap();
    let error = pool.remove_key("b").unwrap_err();
    assert_eq!(error, ChangeError::Build(BuildError::NoKeys));
    assert_eq!((pool.len(), last.state()), (1, KeyState::Valid));
}

#[test]
fn a_key_that_the_pool_does_not_hold_is_unknown() {
    let pool = pool();
    assert_eq!(pool.remove_key("z").unwrap_err(), ChangeError::UnknownKey);
    assert_eq!(pool.remove_key(2).unwrap_err(), ChangeError::UnknownKey);
    assert_eq!(pool.reinstate("z").unwrap_err(), ChangeError::UnknownKey);
    assert_eq!(pool.disable(9).unwrap_err(), ChangeError::UnknownKey);
}

#[test]
fn a_key_with_a_label_of_another_key_is_not_added() {
    let pool = pool();
    let error = pool.add_key(NewKey::new("k2").label("a")).unwrap_err();
    assert!(matches!(
        error,
        BuildError::DuplicateLabel {
            first: 0,
            position: 2,
            ..
        }
    ));
    assert_eq!(pool.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_reinstated_key_is_valid_whatever_it_was_marked_with() {
    let pool = pool();
    key(&pool, 0).mark_permanent();
    key(&pool, 1).mark_temporary(None);
    assert_eq!(
        (pool.reinstate("a"), pool.reinstate(1)),
        (Ok(true), Ok(true))
    );
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
    assert_eq!(pool.reinstate("a"), Ok(false), "it is valid already");
}

#[tokio::test(start_paused = true)]
async fn a_disabled_key_is_unusable_until_it_is_reinstated() {
    let pool = pool();
    assert_eq!(pool.disable("a"), Ok(Marked::Transitioned));
    assert_eq!(pool.disable("a"), Ok(Marked::Unchanged));
    assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);
    assert_eq!(pool.reinstate(0), Ok(true));
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_cooldown_that_ends_does_not_return_a_disabled_key() {
    let pool = pool();
    let early = key(&pool, 0);
    early.mark_temporary(Some(SECOND));
    assert_eq!(pool.disable(0), Ok(Marked::Transitioned));
    assert_eq!(early.mark_temporary(Some(3 * SECOND)), Marked::Unchanged);
    advance(9 * SECOND).await;
    assert_eq!(pool.states()[0], KeyState::Permanent);
}

#[test]
fn only_handles_from_after_a_return_can_mark_the_key() {
    let pool = pool();
    let before = key(&pool, 0);
    pool.disable(0).unwrap();
    pool.reinstate(0).unwrap();
    assert_eq!(before.mark_permanent(), Marked::Unchanged);
    assert_eq!(key(&pool, 0).mark_permanent(), Marked::Transitioned);
}
