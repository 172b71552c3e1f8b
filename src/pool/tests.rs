//! Tests that need access to private items.

use std::time::Duration;

use tokio::time::advance;

use super::state::{AtomicState, Deadline, ProbeSchedule, StateValue};
use super::{Key, KeyPool, KeyState, Marked};

fn pool() -> KeyPool {
    KeyPool::new(["k0", "k1"]).unwrap()
}

fn first(pool: &KeyPool) -> Key {
    pool.walker().next_key().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_reinstated_key_is_valid_again() {
    let pool = pool();
    first(&pool).mark_permanent();
    assert!(pool.reinstate(0).unwrap());
    assert_eq!(pool.states(), [KeyState::Valid, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn a_late_mark_of_an_attempt_that_began_before_the_return_changes_nothing() {
    let pool = pool();
    let early = first(&pool);
    early.mark_permanent();
    pool.reinstate(0).unwrap();
    assert_eq!(early.mark_permanent(), Marked::Unchanged);
    assert_eq!(early.mark_temporary(None), Marked::Unchanged);
    assert_eq!(first(&pool).index(), 0);
    assert_eq!(first(&pool).mark_permanent(), Marked::Transitioned);
}

#[test]
fn a_return_has_no_effect_after_a_mark_that_it_did_not_see() {
    let state = AtomicState::new();
    let seen = state.load();
    state.mark(StateValue::cooling_down(0, 5));
    assert!(!state.begin_generation(seen));
    assert_eq!(state.load().deadline(), Deadline::At(5));
}

#[test]
fn a_temporary_mark_is_never_mistaken_for_a_permanent_one() {
    for millis in [StateValue::LATEST, StateValue::LATEST + 1, u64::MAX] {
        let value = StateValue::cooling_down(0, millis);
        assert_eq!(value.deadline(), Deadline::At(StateValue::LATEST));
        assert!(value < StateValue::permanent(0));
    }
    assert!(StateValue::permanent(0) < StateValue::cooling_down(1, 1));
}

#[test]
fn a_key_without_generations_left_stays_as_it_is() {
    let state = AtomicState::new();
    state.mark(StateValue::permanent((1 << 24) - 2));
    assert!(!state.begin_generation(state.load()));
    assert_eq!(state.load().deadline(), Deadline::Permanent);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_rounded_up_and_a_wait_is_never_reported_longer_than_it_was_asked() {
    let pool = pool();
    advance(Duration::from_nanos(300)).await;
    first(&pool).mark_temporary(Some(Duration::from_secs(3)));
    advance(Duration::from_nanos(50)).await;
    let retry_after = Duration::from_secs(3);
    assert_eq!(pool.states()[0], KeyState::Temporary { retry_after });
    advance(retry_after).await;
    // 350 ns past three seconds: the deadline was rounded up to the millisecond.
    let retry_after = Duration::from_millis(1);
    assert_eq!(pool.states()[0], KeyState::Temporary { retry_after });
    advance(retry_after).await;
    assert_eq!(pool.states()[0], KeyState::Valid);
}

#[test]
fn a_probe_is_taken_once_and_only_with_the_present_plan() {
    let (schedule, state) = (ProbeSchedule::new(), StateValue::permanent(0));
    schedule.update(state, |plan| plan.due = 5);
    let seen = schedule.plan(state);
    let token = schedule.take(state, seen, 7).unwrap();
    assert!(schedule.take(state, seen, 7).is_none());

    // It failed in the meantime and is postponed.
    schedule.finish(token, |plan| plan.due = 9);
    assert!(schedule.take(state, seen, 12).is_none());
    assert!(schedule.take(state, schedule.plan(state), 12).is_some());
}

#[test]
fn a_probe_that_expired_and_was_taken_over_changes_no_plan() {
    let (schedule, state) = (ProbeSchedule::new(), StateValue::permanent(0));
    schedule.update(state, |plan| plan.due = 5);
    let hung = schedule.take(state, schedule.plan(state), 10).unwrap();
    let next = schedule.take(state, schedule.plan(state), 20).unwrap();
    schedule.finish(hung, |plan| plan.due = 1);
    assert_eq!(schedule.plan(state).due, 20);
    schedule.finish(next, |plan| plan.due = 30);
    assert_eq!(schedule.plan(state).due, 30);
}

#[test]
fn a_plan_of_an_older_generation_takes_no_probe_of_a_newer_one() {
    let (schedule, old, new) = (
        ProbeSchedule::new(),
        StateValue::permanent(1),
        StateValue::permanent(2),
    );
    let seen = schedule.plan(old);
    schedule.update(new, |plan| plan.due = 5);
    assert!(schedule.take(old, seen, 7).is_none());
    schedule.update(old, |plan| plan.due = 9);
    assert_eq!(schedule.plan(new).due, 5);
    assert_eq!(schedule.plan(old).due, 0);
}

#[test]
fn an_empty_plan_blocks_no_generation() {
    let (schedule, far) = (ProbeSchedule::new(), StateValue::permanent(40_000));
    let token = schedule.take(far, schedule.plan(far), 7).unwrap();
    schedule.finish(token, |_| {});
    assert!(schedule.take(far, schedule.plan(far), 7).is_some());
}
