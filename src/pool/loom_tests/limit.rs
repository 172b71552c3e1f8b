//! All interleavings of each pair of actions on one limit.

use loom::sync::Arc;
use loom::thread;

use super::{config, model};
use crate::pool::clock::LazyNow;
use crate::pool::reason::{Cause, Reason};
use crate::pool::state::{Availability, Deadline, Limit, LimitConfig, StateRef, StateValue, Taken};

fn cause() -> Cause {
    Cause::of(Reason::Other)
}

type Act = fn(&Limit, &LimitConfig, StateValue);

// What a thread may do. The state is what the limit said before any of them began: that of an attempt
// under way, or of a trial.

fn mark_temporary(limit: &Limit, config: &LimitConfig, seen: StateValue) {
    limit.cool_down(config, seen.generation(), None, cause());
}

fn mark_permanent(limit: &Limit, config: &LimitConfig, seen: StateValue) {
    limit.mark_permanently(config, seen.generation(), cause());
}

fn reinstate(limit: &Limit, config: &LimitConfig, _: StateValue) {
    limit.reinstate(config);
}

fn disable(limit: &Limit, _: &LimitConfig, _: StateValue) {
    limit.disable();
}

fn remove(limit: &Limit, _: &LimitConfig, _: StateValue) {
    limit.remove();
}

fn look(limit: &Limit, config: &LimitConfig, _: StateValue) {
    let mut now = LazyNow::default();
    limit.availability(config, &mut now);
    limit.state(config, &mut now);
}

fn succeed(limit: &Limit, config: &LimitConfig, seen: StateValue) {
    limit.succeed(config, seen.generation());
}

fn probe_and_succeed(limit: &Limit, config: &LimitConfig, _: StateValue) {
    if let Taken::Probe(probe) = limit.take_probe(config, &mut LazyNow::default()) {
        limit.probe_succeeded(probe);
    }
}

fn probe_and_fail(limit: &Limit, config: &LimitConfig, _: StateValue) {
    if let Taken::Probe(probe) = limit.take_probe(config, &mut LazyNow::default()) {
        limit.mark_permanently(config, probe.seen.generation(), cause());
        limit.probe_failed(probe, config, 1);
    }
}

fn probe_and_drop(limit: &Limit, config: &LimitConfig, _: StateValue) {
    if let Taken::Probe(probe) = limit.take_probe(config, &mut LazyNow::default()) {
        limit.probe_dropped(probe);
    }
}

const ACTS: [Act; 10] = [
    mark_temporary,
    mark_permanent,
    reinstate,
    disable,
    remove,
    look,
    succeed,
    probe_and_succeed,
    probe_and_fail,
    probe_and_drop,
];

/// Runs both on threads of their own over a limit that is permanently out and due, and has a look at
/// the end.
fn race(one: Act, other: Act, check: fn(&Limit, &LimitConfig)) {
    model(move || {
        let shared = Arc::new((Limit::new(StateRef::single()), config()));
        let (limit, config) = &*shared;
        limit.mark_permanently(config, 0, cause());
        let seen = limit.value();
        let threads = [one, other].map(|act| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (limit, config) = &*shared;
                let before = limit.value();
                act(limit, config, seen);
                assert!(limit.value() >= before, "a state only grows");
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        check(limit, config);
    });
}

/// What holds at the end whatever happened.
fn nothing_is_stuck(limit: &Limit, config: &LimitConfig) {
    let state = limit.value();
    let plan = limit.probes.plan(state);
    assert!(!plan.taken, "no finished probe stays taken");
    if state == StateValue::REMOVED {
        assert_eq!(
            limit.availability(config, &mut LazyNow::default()),
            Availability::Closed
        );
    }
    if state.deadline() == Deadline::None {
        assert_eq!(
            limit.availability(config, &mut LazyNow::default()),
            Availability::Open
        );
    }
}

#[test]
fn no_pair_of_actions_leaves_a_limit_stuck() {
    for (at, one) in ACTS.into_iter().enumerate() {
        for other in &ACTS[at..] {
            race(one, *other, nothing_is_stuck);
        }
    }
}

#[test]
fn one_of_two_concurrent_requests_probes_a_key() {
    model(|| {
        let shared = Arc::new((Limit::new(StateRef::single()), config()));
        let (limit, config) = &*shared;
        limit.mark_permanently(config, 0, cause());
        let threads = [(), ()].map(|()| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (limit, config) = &*shared;
                let taken = limit.take_probe(config, &mut LazyNow::default());
                usize::from(matches!(taken, Taken::Probe(_)))
            })
        });
        let takers: usize = threads.map(|thread| thread.join().unwrap()).iter().sum();
        assert_eq!(takers, 1);
    });
}

#[test]
fn a_successful_probe_does_not_bring_back_a_disabled_key() {
    race(probe_and_succeed, disable, |limit, config| {
        assert_eq!(limit.value().deadline(), Deadline::Never);
        let availability = limit.availability(config, &mut LazyNow::default());
        assert_eq!(availability, Availability::Closed, "nor is it due");
    });
}

#[test]
fn a_late_mark_does_not_undo_a_return() {
    for mark in [mark_temporary, mark_permanent] {
        race(reinstate, mark, |limit, config| {
            let availability = limit.availability(config, &mut LazyNow::default());
            assert_eq!(availability, Availability::Open);
        });
    }
}

#[test]
fn a_dropped_probe_leaves_the_plan_of_a_concurrent_mark() {
    race(mark_permanent, probe_and_drop, |limit, config| {
        let availability = limit.availability(config, &mut LazyNow::default());
        assert_eq!(availability, Availability::ProbeDue);
    });
}
