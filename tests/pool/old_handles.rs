//! Marks through handles that are older than a change of the key.

use std::sync::Arc;

use test_support::harness::{Harness, SECOND, cooling_down, key, rate_limited};
use test_support::mock::{layer, response};
use tower_key_failover::pool::{KeyPool, KeyState, Marked, NewKey};

fn grouped(key: &str, group: &str) -> NewKey {
    NewKey::new(key).group(group)
}

/// Two keys of one group, and one without a group.
fn pool() -> Arc<KeyPool> {
    let pool = KeyPool::builder().key("k0").group("a").key("k1").group("a");
    Arc::new(pool.key("k2").build().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_marks_a_key_that_moved_to_another_group() {
    let pool = pool();
    let mut harness = Harness::new(&layer(&pool));
    let mut request = harness.send();
    let sent = harness.next_attempt();
    assert_eq!(sent.key, "k0");
    pool.replace_keys([grouped("k0", "b"), grouped("k1", "a"), "k2".into()])
        .unwrap();
    sent.respond(rate_limited("9"));
    request.poll();
    assert_eq!(harness.next_attempt().key, "k2");
    let out = cooling_down(9 * SECOND);
    assert_eq!(pool.states(), [out, out, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_marks_a_key_that_left_its_group() {
    let pool = pool();
    let old = key(&pool, 0);
    pool.replace_keys(["k0", "k1", "k2"]).unwrap();
    assert_eq!(old.mark_temporary(Some(9 * SECOND)), Marked::Transitioned);
    assert_eq!(
        pool.states(),
        [cooling_down(9 * SECOND), KeyState::Valid, KeyState::Valid]
    );
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_of_the_old_group_does_not_reach_the_new_one() {
    let pool = pool();
    let old = key(&pool, 0);
    pool.replace_keys([grouped("k0", "b"), grouped("k1", "a"), grouped("k2", "b")])
        .unwrap();
    old.mark_temporary(Some(9 * SECOND));
    let out = cooling_down(9 * SECOND);
    assert_eq!(pool.states(), [out, out, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_of_an_attempt_before_a_reinstatement_of_a_grouped_key_has_no_effect() {
    let pool = pool();
    let mut harness = Harness::new(&layer(&pool));
    let mut early = harness.send();
    let sent = harness.next_attempt();
    assert_eq!(sent.key, "k0");
    // Only the key is marked. Its group is open all the time.
    key(&pool, 0).mark_permanent();
    assert_eq!(pool.reinstate(0), Ok(true));
    sent.respond(rate_limited("9"));
    early.poll();
    harness.next_attempt().respond(response(200));
    assert_eq!(pool.states(), [KeyState::Valid; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_mark_through_a_handle_from_before_a_reinstatement_of_a_valid_key_has_no_effect() {
    let pool = pool();
    let old = key(&pool, 0);
    assert_eq!(pool.reinstate(0), Ok(false));
    assert_eq!(old.mark_temporary(Some(9 * SECOND)), Marked::Unchanged);
    assert_eq!(old.mark_permanent(), Marked::Unchanged);
    assert_eq!(pool.states(), [KeyState::Valid; 3]);
}
