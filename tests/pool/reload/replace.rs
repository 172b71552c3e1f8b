//! Another list of keys in the place of the present one.

use std::time::Duration;

use secrecy::SecretString;
use test_support::harness::{SECOND, cooling_down, key};
use tokio::time::advance;
use tower_key_failover::pool::{BuildError, Exhausted, ExhaustedKind, KeyPool, KeyState, NewKey};

fn pool() -> KeyPool {
    KeyPool::builder()
        .labeled_key("a", "k0")
        .labeled_key("b", "k1")
        .labeled_key("c", "k2")
        .build()
        .unwrap()
}

fn keys(pool: &KeyPool) -> Vec<String> {
    let keys = pool.keys();
    keys.map(|key| key.expose_secret().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_new_list_applies_at_once() {
    let pool = pool();
    pool.replace_keys(["k3", "k4"]).unwrap();
    assert_eq!(
        (pool.len(), keys(&pool)),
        (2, vec!["k3".into(), "k4".into()])
    );
    assert_eq!(pool.walker().next_key().unwrap().expose_secret(), "k3");
}

#[tokio::test(start_paused = true)]
async fn a_key_keeps_its_state_when_its_position_or_label_changes() {
    let pool = pool();
    key(&pool, 0).mark_permanent();
    key(&pool, 1).mark_temporary(Some(9 * SECOND));
    let renamed = NewKey::new("k0").label("z");
    pool.replace_keys([NewKey::from("k2"), NewKey::from("k1"), renamed])
        .unwrap();
    assert_eq!(
        pool.states(),
        [
            KeyState::Valid,
            cooling_down(9 * SECOND),
            KeyState::Permanent
        ]
    );
    assert_eq!(key(&pool, 2).label(), Some("z"));
    assert_eq!(key(&pool, 1).label(), None);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_starts_valid() {
    let pool = pool();
    pool.keys().for_each(|key| {
        key.mark_permanent();
    });
    pool.replace_keys(["k0", "k9"]).unwrap();
    assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn a_removed_key_is_permanent_for_all_its_handles() {
    let pool = pool();
    let mut walker = pool.walker();
    let gone = key(&pool, 0);
    pool.replace_keys(["k1", "k2"]).unwrap();
    assert_eq!(gone.state(), KeyState::Permanent);
    assert_eq!(walker.next_key().unwrap().expose_secret(), "k1");
}

#[tokio::test(start_paused = true)]
async fn nothing_returns_a_removed_key() {
    let pool = KeyPool::builder().key("k0").key("k1");
    let pool = pool
        .probe_after(SECOND)
        .without_probe_jitter()
        .build()
        .unwrap();
    let gone = key(&pool, 0);
    gone.mark_temporary(Some(9 * SECOND));
    pool.replace_keys(["k1"]).unwrap();
    advance(Duration::from_secs(3600)).await;
    gone.mark_temporary(Some(SECOND));
    advance(SECOND).await;
    assert_eq!(gone.state(), KeyState::Permanent);
    assert!(gone.mark_permanent() == tower_key_failover::Marked::Unchanged);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_removed_and_added_again_is_new() {
    let pool = pool();
    let before = key(&pool, 0);
    before.mark_permanent();
    pool.replace_keys(["k1"]).unwrap();
    pool.replace_keys(["k0", "k1"]).unwrap();
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
    before.mark_permanent();
    assert_eq!(
        pool.states(),
        [KeyState::Valid; 2],
        "a mark of its former life"
    );
}

#[tokio::test(start_paused = true)]
async fn exhaustion_describes_the_current_list() {
    let pool = pool();
    let mut walker = pool.walker();
    key(&pool, 0).mark_temporary(Some(3 * SECOND));
    key(&pool, 1).mark_temporary(Some(9 * SECOND));
    key(&pool, 2).mark_permanent();
    pool.replace_keys(["k1", "k2"]).unwrap();
    let soonest = |kind, wait| Exhausted {
        kind,
        retry_after: wait,
    };
    let limited = soonest(ExhaustedKind::RateLimited, Some(9 * SECOND));
    assert_eq!(pool.walker().next_key().unwrap_err(), limited);
    assert_eq!(walker.next_key().unwrap_err(), limited);
    pool.replace_keys(["k2"]).unwrap();
    assert_eq!(
        pool.walker().next_key().unwrap_err(),
        soonest(ExhaustedKind::Permanent, None)
    );
}

#[test]
fn a_walker_knows_the_keys_from_its_start() {
    let pool = KeyPool::new(["k0"]).unwrap();
    let mut walker = pool.walker();
    key(&pool, 0).mark_permanent();
    pool.add_key("k1").unwrap();
    let exhausted = walker.next_key().unwrap_err();
    assert_eq!(exhausted.kind, ExhaustedKind::Permanent);
    assert_eq!(pool.walker().next_key().unwrap().expose_secret(), "k1");
}

#[test]
fn an_invalid_list_changes_nothing() {
    let pool = pool();
    key(&pool, 0).mark_permanent();
    let before = pool.snapshot();
    let gone = key(&pool, 2);
    let none: [&str; 0] = [];
    assert_eq!(pool.replace_keys(none).unwrap_err(), BuildError::NoKeys);
    for (keys, position) in [
        (["k9", "k1", "k9"], 2),
        (["k9", "bad\n", "k1"], 1),
        (["", "k1", "k2"], 0),
    ] {
        let error = pool.replace_keys(keys).unwrap_err();
        match error {
            BuildError::DuplicateKey { position: at, .. }
            | BuildError::InvalidKey { position: at, .. } => {
                assert_eq!(at, position);
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(pool.snapshot(), before);
    assert_eq!(gone.state(), KeyState::Valid);
}

#[test]
fn the_report_of_a_reload_has_names_and_no_key() {
    let pool = pool();
    let long = NewKey::new("sk-canary-canary-canary").label("new");
    let changes = pool
        .replace_keys([long, NewKey::from("k1"), NewKey::from("k2")])
        .unwrap();
    assert_eq!(changes.kept, 2);
    assert_eq!(changes.added[0].label.as_deref(), Some("new"));
    assert_eq!(changes.removed[0].label.as_deref(), Some("a"));
    assert_eq!((changes.added.len(), changes.removed.len()), (1, 1));
    let printed = format!("{changes:?} {:?}", NewKey::new("sk-canary-canary-canary"));
    assert!(
        printed.contains("sk-c...nary") && !printed.contains("canary"),
        "{printed}"
    );
}

#[test]
fn the_same_list_changes_nothing() {
    let pool = pool();
    let changes = pool.replace_keys(["k2", "k1", "k0"]).unwrap();
    assert_eq!(
        (changes.added.len(), changes.removed.len(), changes.kept),
        (0, 0, 3)
    );
}

#[test]
fn a_key_can_be_text_a_secret_or_a_new_key() {
    let pool = pool();
    pool.replace_keys([SecretString::from("k5")]).unwrap();
    pool.replace_keys(vec!["k6".to_owned()]).unwrap();
    pool.replace_keys([NewKey::new("k7").label("x").group("org")])
        .unwrap();
    let key = key(&pool, 0);
    assert_eq!((key.label(), key.group()), (Some("x"), Some("org")));
}

#[test]
fn a_walker_continues_over_the_list_from_its_start() {
    let pool = pool();
    let mut walker = pool.walker();
    walker.next_key().unwrap();
    pool.replace_keys(["k9", "k2", "k0"]).unwrap();
    assert_eq!(walker.next_key().unwrap().expose_secret(), "k2");
    assert!(walker.next_key().is_err());
}
