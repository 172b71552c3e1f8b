//! All interleavings of each pair of actions on one limit.

use loom::sync::Arc;
use loom::thread;

use super::{config, model};
use crate::pool::clock::LazyNow;
use crate::pool::reason::{Cause, Reason};
use crate::pool::state::{
    Availability, Deadline, Limit, LimitConfig, Marked, StateRef, StateValue, Taken,
};

fn cause() -> Cause {
    Cause::of(Reason::Other)
}

type Act = fn(&Limit, &LimitConfig, StateValue);

// What a thread may do. The state is that of the limit before any thread began, as an attempt in
// progress knows it.

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
    if let Taken::Probe(probe) = limit.take_probe(config, false, &mut LazyNow::default()) {
        limit.probe_succeeded(probe, config);
    }
}

fn probe_and_fail(limit: &Limit, config: &LimitConfig, seen: StateValue) {
    if let Taken::Probe(probe) = limit.take_probe(config, false, &mut LazyNow::default()) {
        limit.mark_permanently(config, seen.generation(), cause());
        limit.probe_failed(probe, config, Some(Reason::Other));
    }
}

fn probe_and_drop(limit: &Limit, config: &LimitConfig, _: StateValue) {
    if let Taken::Probe(probe) = limit.take_probe(config, false, &mut LazyNow::default()) {
        limit.probe_dropped(probe, config);
    }
}

fn suspect(limit: &Limit, config: &LimitConfig, seen: StateValue) {
    limit.suspect(config, seen.generation(), cause());
}

fn suspect_and_convict(limit: &Limit, config: &LimitConfig, seen: StateValue) {
    let suspicion = limit.suspect(config, seen.generation(), cause());
    limit.convict(config, seen.generation(), suspicion, cause());
}

/// What can happen to an open limit.
const ACTS_ON_OPEN: [Act; 8] = [
    suspect,
    suspect_and_convict,
    succeed,
    mark_temporary,
    mark_permanent,
    reinstate,
    disable,
    remove,
];

/// What can happen to a permanently marked limit.
const ACTS_ON_MARKED: [Act; 11] = [
    suspect_and_convict,
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

/// Runs both on threads of their own, over a limit that is open or permanently marked and due.
fn race(is_open: bool, one: Act, other: Act, check: fn(&Limit, &LimitConfig)) {
    model(move || {
        let shared = Arc::new((Limit::new(StateRef::single()), config()));
        let (limit, config) = &*shared;
        if !is_open {
            limit.mark_permanently(config, 0, cause());
        }
        let seen = limit.value();
        let threads = [one, other].map(|act| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (limit, config) = &*shared;
                let before = limit.value();
                act(limit, config, seen);
                let after = limit.value();
                let is_cleared = before.deadline() == Deadline::Suspected;
                let only_grows = is_cleared || after >= before;
                assert!(
                    only_grows,
                    "a state only grows, unless a suspicion is cleared"
                );
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        check(limit, config);
    });
}

fn race_marked(one: Act, other: Act, check: fn(&Limit, &LimitConfig)) {
    race(false, one, other, check);
}

/// What holds at the end, whatever happened.
fn nothing_is_stuck(limit: &Limit, config: &LimitConfig) {
    let now = &mut LazyNow::default();
    assert!(
        !limit.is_taken(config, now),
        "no finished probe stays taken"
    );
    let state = limit.value();
    if state == StateValue::REMOVED {
        assert_eq!(limit.availability(config, now), Availability::Closed);
    }
    let is_suspected = limit.suspicions() > 0;
    match state.deadline() {
        Deadline::None => assert!(!is_suspected, "the state hides a suspicion"),
        Deadline::Suspected => assert!(is_suspected, "the state shows a cleared suspicion"),
        Deadline::At(_) | Deadline::Permanent | Deadline::Disabled => return,
    }
    assert_eq!(limit.availability(config, now), Availability::Open);
}

#[test]
fn no_pair_of_actions_leaves_a_limit_stuck() {
    for (is_open, acts) in [(true, &ACTS_ON_OPEN[..]), (false, &ACTS_ON_MARKED[..])] {
        for (at, one) in acts.iter().enumerate() {
            for other in &acts[at..] {
                race(is_open, *one, *other, nothing_is_stuck);
            }
        }
    }
}

#[test]
fn a_success_and_a_conviction_happen_in_some_order() {
    model(|| {
        let shared = Arc::new((Limit::new(StateRef::single()), config()));
        let (limit, config) = &*shared;
        let suspicion = limit.suspect(config, 0, cause());
        let succeeding = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.0.succeed(&shared.1, 0))
        };
        let marked = limit.convict(config, 0, suspicion, cause());
        let was_cleared = succeeding.join().unwrap();
        // The success came first, or the conviction did.
        assert_eq!(was_cleared, marked == Marked::Unchanged);
        let is_marked = limit.value().deadline() == Deadline::Permanent;
        assert_eq!(is_marked, marked == Marked::Transitioned);
    });
}

#[test]
fn two_requests_that_suspect_a_key_convict_it_once() {
    model(|| {
        let shared = Arc::new((Limit::new(StateRef::single()), config()));
        let threads = [(), ()].map(|()| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (limit, config) = &*shared;
                let suspicion = limit.suspect(config, 0, cause());
                limit.convict(config, 0, suspicion, cause())
            })
        });
        let marks = threads.map(|thread| thread.join().unwrap());
        let convictions = marks
            .iter()
            .filter(|marked| **marked == Marked::Transitioned);
        assert_eq!(convictions.count(), 1);
    });
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
                let taken = limit.take_probe(config, false, &mut LazyNow::default());
                usize::from(matches!(taken, Taken::Probe(_)))
            })
        });
        let takers: usize = threads.map(|thread| thread.join().unwrap()).iter().sum();
        assert_eq!(takers, 1);
    });
}

#[test]
fn a_successful_probe_does_not_bring_back_a_disabled_key() {
    race_marked(probe_and_succeed, disable, |limit, config| {
        assert_eq!(limit.value().deadline(), Deadline::Disabled);
        let availability = limit.availability(config, &mut LazyNow::default());
        assert_eq!(availability, Availability::Closed, "nor is it due");
    });
}

#[test]
fn a_late_mark_does_not_undo_a_return() {
    for mark in [mark_temporary, mark_permanent] {
        race_marked(reinstate, mark, |limit, config| {
            let availability = limit.availability(config, &mut LazyNow::default());
            assert_eq!(availability, Availability::Open);
        });
    }
}

#[test]
fn a_dropped_probe_leaves_the_plan_of_a_concurrent_mark() {
    race_marked(mark_permanent, probe_and_drop, |limit, config| {
        let availability = limit.availability(config, &mut LazyNow::default());
        assert_eq!(availability, Availability::ProbeDue);
    });
}
