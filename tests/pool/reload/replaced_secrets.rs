//! Replacing the secret of a key, such as a token that expires.

use test_support::harness::{SECOND, cooling_down, key};
use tower_key_failover::pool::{BuildError, ChangeError, KeyPool, KeyState, Marked, NewKey};

fn pool() -> KeyPool {
    KeyPool::builder()
        .labeled_key("a", "old-token")
        .group("acme")
        .extension(7_u16)
        .labeled_key("b", "k1")
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_key_with_another_secret_keeps_its_state_its_settings_and_its_position() {
    let pool = pool();
    key(&pool, 0).mark_temporary(Some(SECOND));
    pool.replace_secret("a", "new-token").unwrap();
    let key = key(&pool, 0);
    assert_eq!(key.expose_secret(), "new-token");
    assert_eq!(key.bearer(), "Bearer new-token");
    assert_eq!(
        (key.label(), key.group(), key.extension()),
        (Some("a"), Some("acme"), Some(&7_u16))
    );
    assert_eq!(pool.states(), [cooling_down(SECOND), KeyState::Valid]);
}

#[test]
fn an_attempt_in_progress_keeps_the_old_secret() {
    let pool = pool();
    let attempt = key(&pool, 0);
    pool.replace_secret("a", "new-token").unwrap();
    assert_eq!(attempt.expose_secret(), "old-token");
    assert_eq!(attempt.state(), KeyState::Valid);
}

#[test]
fn a_late_refusal_of_the_old_secret_does_not_mark_the_key_permanently() {
    let pool = pool();
    let late = key(&pool, 0);
    pool.replace_secret(0, "new-token").unwrap();
    assert_eq!(late.mark_permanent(), Marked::Unchanged);
    assert_eq!(pool.states()[0], KeyState::Valid);
    assert_eq!(key(&pool, 0).mark_permanent(), Marked::Transitioned);
}

#[tokio::test(start_paused = true)]
async fn a_late_rate_limit_of_the_old_secret_applies_to_the_key() {
    let pool = pool();
    let late = key(&pool, 0);
    pool.replace_secret("a", "new-token").unwrap();
    assert_eq!(late.mark_temporary(Some(SECOND)), Marked::Transitioned);
    assert_eq!(pool.states()[0], cooling_down(SECOND));
}

#[test]
fn a_disabled_key_stays_disabled_with_its_new_secret() {
    let pool = pool();
    pool.disable("a").unwrap();
    pool.replace_secret("a", "new-token").unwrap();
    assert_eq!(pool.states()[0], KeyState::Permanent);
    assert!(pool.reinstate("a").unwrap());
}

#[test]
fn a_secret_can_be_replaced_by_itself() {
    let pool = pool();
    pool.replace_secret("a", "old-token").unwrap();
    assert_eq!(key(&pool, 0).expose_secret(), "old-token");
}

#[test]
fn an_invalid_replacement_changes_nothing() {
    let pool = pool();
    let late = key(&pool, 0);
    let error = pool.replace_secret("a", "k1").unwrap_err();
    assert!(matches!(
        error,
        ChangeError::Build(BuildError::DuplicateKey {
            first: 0,
            position: 1,
            ..
        })
    ));
    let error = pool.replace_secret("b", " k1").unwrap_err();
    assert!(matches!(
        error,
        ChangeError::Build(BuildError::InvalidKey { position: 1, .. })
    ));
    assert_eq!(
        pool.replace_secret("c", "k2").unwrap_err(),
        ChangeError::UnknownKey
    );
    assert_eq!(key(&pool, 0).expose_secret(), "old-token");
    assert_eq!(
        late.mark_permanent(),
        Marked::Transitioned,
        "its secret is still the current one"
    );
}

#[test]
fn a_later_list_of_keys_knows_the_key_by_its_new_secret() {
    let pool = pool();
    pool.replace_secret("a", "new-token").unwrap();
    key(&pool, 0).mark_permanent();
    let changes = pool
        .replace_keys([NewKey::new("new-token").label("a"), NewKey::new("k2")])
        .unwrap();
    assert_eq!(changes.kept, 1);
    assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);
    assert_eq!(key(&pool, 0).mark_permanent(), Marked::Unchanged);
    pool.reinstate(0).unwrap();
    assert_eq!(key(&pool, 0).mark_permanent(), Marked::Transitioned);
}
