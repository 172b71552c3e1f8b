//! Every interleaving of the operations on one key's state.

use loom::sync::Arc;
use loom::thread;

use super::model;
use crate::pool::state::{AtomicState, Deadline, StateValue};

fn done<T>(_: T) {}

const SOON: u64 = 5;
const LATE: u64 = 9;

/// Runs each operation on a thread of its own, on a state that starts at `start`. Returns the
/// final state.
fn race<const N: usize>(
    start: Option<StateValue>,
    operations: [fn(&AtomicState); N],
) -> StateValue {
    let state = Arc::new(AtomicState::new());
    if let Some(stamp) = start {
        state.mark(stamp);
    }
    let threads = operations.map(|operation| {
        let state = Arc::clone(&state);
        thread::spawn(move || {
            let before = state.load();
            operation(&state);
            assert!(state.load() >= before, "marks and returns only grow");
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
    state.load()
}

#[test]
fn the_later_deadline_wins_in_any_order() {
    model(|| {
        let end = race(
            None,
            [
                |state| done(state.mark(StateValue::cooling_down(0, SOON))),
                |state| done(state.mark(StateValue::cooling_down(0, LATE))),
            ],
        );
        assert_eq!(end, StateValue::cooling_down(0, LATE));
    });
}

#[test]
fn a_permanent_mark_outranks_every_cooldown() {
    model(|| {
        let end = race(
            None,
            [
                |state| done(state.mark(StateValue::permanent(0))),
                |state| done(state.mark(StateValue::cooling_down(0, LATE))),
            ],
        );
        assert_eq!(end.deadline(), Deadline::Permanent);
    });
}

#[test]
fn exactly_one_of_two_equal_marks_changes_the_state() {
    model(|| {
        let state = Arc::new(AtomicState::new());
        let threads = [(), ()].map(|()| {
            let state = Arc::clone(&state);
            let stamp = StateValue::cooling_down(0, SOON);
            thread::spawn(move || usize::from(state.mark(stamp) < stamp))
        });
        let changes: usize = threads.map(|thread| thread.join().unwrap()).iter().sum();
        assert_eq!(changes, 1);
    });
}

#[test]
fn a_mark_of_an_older_generation_does_not_undo_a_return() {
    model(|| {
        let end = race(
            Some(StateValue::permanent(0)),
            [
                |state| done(state.begin_generation(StateValue::permanent(0))),
                // Marks of attempts that started before the return.
                |state| done(state.mark(StateValue::cooling_down(0, LATE))),
                |state| done(state.mark(StateValue::permanent(0))),
            ],
        );
        assert_eq!((end.generation(), end.deadline()), (1, Deadline::None));
    });
}

#[test]
fn a_return_and_a_concurrent_mark_happen_in_some_order() {
    model(|| {
        let end = race(
            Some(StateValue::cooling_down(0, SOON)),
            [
                |state| done(state.begin_generation(StateValue::cooling_down(0, SOON))),
                |state| done(state.mark(StateValue::cooling_down(state.load().generation(), LATE))),
            ],
        );
        match end.generation() {
            // The mark came first, so the return had no effect.
            0 => assert_eq!(end, StateValue::cooling_down(0, LATE)),
            // The key returned. A mark of an earlier attempt is lost, and one of a later attempt stays.
            _ => assert!(matches!(
                end.deadline(),
                Deadline::None | Deadline::At(LATE)
            )),
        }
    });
}

#[test]
fn no_mark_or_probe_brings_back_a_disabled_key() {
    model(|| {
        let end = race(
            Some(StateValue::permanent(0)),
            [
                |state| done(state.disable()),
                |state| done(state.begin_generation(StateValue::permanent(0))),
                |state| done(state.mark(StateValue::cooling_down(0, LATE))),
            ],
        );
        assert_eq!(end.deadline(), Deadline::Disabled);
    });
}

#[test]
fn nothing_brings_back_a_removed_key() {
    model(|| {
        let end = race(
            Some(StateValue::cooling_down(0, SOON)),
            [
                |state| state.remove(),
                |state| done(state.begin_generation(state.load())),
                |state| done(state.disable()),
            ],
        );
        assert_eq!(end, StateValue::REMOVED);
    });
}

#[test]
fn two_concurrent_returns_count_as_one() {
    model(|| {
        let end = race(
            Some(StateValue::permanent(0)),
            [
                |state| done(state.begin_generation(StateValue::permanent(0))),
                |state| done(state.begin_generation(StateValue::permanent(0))),
            ],
        );
        assert_eq!((end.generation(), end.deadline()), (1, Deadline::None));
    });
}
