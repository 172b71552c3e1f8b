//! All interleavings of each pair of actions on one limit.

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use super::{HOUR, config, model};
use crate::pool::clock::{Clock, LazyNow};
use crate::pool::reason::{Cause, Reason};
use crate::pool::state::{
    Availability, Deadline, Limit, LimitConfig, Marked, Permit, StateValue, Taken, Terms,
};
use crate::sync::now;

fn cause() -> Cause {
    Cause::of(Reason::Other)
}

type Act = fn(&Limit, &LimitConfig, StateValue);

// What a thread may do. The state is that of the limit before any thread began, as an attempt in
// progress knows it.

fn mark_temporary(limit: &Limit, config: &LimitConfig, seen: StateValue) {
    limit.cool_down(config, seen, HOUR, true, cause(), &mut LazyNow::default());
}

fn mark_permanent(limit: &Limit, config: &LimitConfig, seen: StateValue) {
    limit.mark_permanently(config, seen, cause());
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
    limit.succeed(config, seen, None);
}

fn take(limit: &Limit, config: &LimitConfig) -> Option<Permit> {
    match limit.take(config, Terms::ProbeIfDue, &mut LazyNow::default()) {
        Taken::Permit(permit) => Some(permit),
        Taken::Open | Taken::Refused => None,
    }
}

fn take_and_succeed(limit: &Limit, config: &LimitConfig, seen: StateValue) {
    if let Some(permit) = take(limit, config) {
        limit.succeed(config, seen, Some(permit));
    }
}

fn take_and_fail(limit: &Limit, config: &LimitConfig, seen: StateValue) {
    if let Some(permit) = take(limit, config) {
        limit.mark_permanently(config, seen, cause());
        limit.end(permit, config, Some(Reason::Other));
    }
}

fn take_and_end(limit: &Limit, config: &LimitConfig, _: StateValue) {
    if let Some(permit) = take(limit, config) {
        limit.end(permit, config, None);
    }
}

fn take_and_drop(limit: &Limit, config: &LimitConfig, _: StateValue) {
    if let Some(permit) = take(limit, config) {
        limit.give_back(permit, config);
    }
}

fn suspect(limit: &Limit, config: &LimitConfig, seen: StateValue) {
    limit.suspect(config, seen, cause());
}

fn suspect_and_convict(limit: &Limit, config: &LimitConfig, seen: StateValue) {
    let suspicion = limit.suspect(config, seen, cause());
    limit.convict(config, seen, suspicion, cause());
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

/// What can happen to a limit that is marked or reopening.
const ACTS_ON_OTHERS: [Act; 9] = [
    suspect_and_convict,
    mark_temporary,
    reinstate,
    disable,
    remove,
    succeed,
    take_and_succeed,
    take_and_fail,
    take_and_drop,
];

/// What else can happen to a limit that is permanently marked.
const ACTS_ON_MARKED: [Act; 3] = [mark_permanent, look, take_and_end];

/// What a limit is before the threads begin.
#[derive(Clone, Copy)]
enum Start {
    Open,
    /// Permanently marked and due.
    Marked,
    /// Cooling down and due.
    CoolingDown,
    Reopening,
}

impl Start {
    fn limit(self, config: &LimitConfig) -> Limit {
        let limit = Limit::new();
        let seen = limit.value();
        match self {
            Self::Open => {}
            Self::Marked => mark_permanent(&limit, config, seen),
            Self::CoolingDown => mark_temporary(&limit, config, seen),
            Self::Reopening => {
                // Its cooldown was over long ago.
                let earlier = Clock::since(now());
                let wait = Duration::from_millis(5);
                let config = &LimitConfig {
                    clock: earlier,
                    ..super::config()
                };
                limit.cool_down(config, seen, wait, true, cause(), &mut LazyNow::default());
            }
        }
        limit
    }
}

/// Runs both on threads of their own.
fn race(start: Start, one: Act, other: Act, check: fn(&Limit, &LimitConfig)) {
    model(move || {
        let config = config();
        let shared = Arc::new((start.limit(&config), config));
        let (limit, config) = &*shared;
        let seen = limit.value();
        let threads = [one, other].map(|act| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (limit, config) = &*shared;
                let before = limit.value();
                act(limit, config, seen);
                let after = limit.value();
                let may_fall = matches!(before.deadline(), Deadline::Suspected | Deadline::At(_));
                assert!(
                    may_fall || after >= before,
                    "a state only grows, unless a suspicion is cleared or a cooldown ends"
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
    race(Start::Marked, one, other, check);
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
    match limit.availability(config, now) {
        Availability::Open => {
            let shows = state.deadline() == Deadline::Suspected;
            assert_eq!(shows, is_suspected, "the state and the trust differ");
        }
        Availability::Reopening => {
            let place = take(limit, config);
            assert!(place.is_some(), "no finished attempt keeps its place");
        }
        Availability::ProbeDue | Availability::Closed => {}
    }
}

/// Races each pair of `acts`.
fn race_all(start: Start, acts: &[Act]) {
    for (at, one) in acts.iter().enumerate() {
        for other in &acts[at..] {
            race(start, *one, *other, nothing_is_stuck);
        }
    }
}

#[test]
fn no_pair_of_actions_leaves_an_open_limit_stuck() {
    race_all(Start::Open, &ACTS_ON_OPEN);
}

#[test]
fn no_pair_of_actions_leaves_a_permanently_marked_limit_stuck() {
    race_all(
        Start::Marked,
        &[&ACTS_ON_OTHERS[..], &ACTS_ON_MARKED].concat(),
    );
}

#[test]
fn no_pair_of_actions_leaves_a_limit_stuck_that_cools_down() {
    race_all(Start::CoolingDown, &ACTS_ON_OTHERS);
}

#[test]
fn no_pair_of_actions_leaves_a_reopening_limit_stuck() {
    race_all(Start::Reopening, &ACTS_ON_OTHERS);
}

#[test]
fn a_success_does_not_undo_a_concurrent_mark() {
    for start in [Start::CoolingDown, Start::Reopening] {
        race(start, succeed, mark_permanent, |limit, _| {
            assert!(limit.is_permanent());
        });
    }
}

#[test]
fn a_reopening_limit_admits_one_of_two_concurrent_requests() {
    model(|| {
        let config = config();
        let shared = Arc::new((Start::Reopening.limit(&config), config));
        let threads = [(), ()].map(|()| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || usize::from(take(&shared.0, &shared.1).is_some()))
        });
        let admitted: usize = threads.map(|thread| thread.join().unwrap()).iter().sum();
        assert_eq!(admitted, 1);
    });
}

#[test]
fn two_successes_are_two_proofs() {
    // Enough under loom.
    race(Start::Reopening, succeed, take_and_succeed, |limit, _| {
        assert!(limit.is_open());
    });
}

#[test]
fn a_success_and_a_conviction_happen_in_some_order() {
    model(|| {
        let shared = Arc::new((Limit::new(), config()));
        let (limit, config) = &*shared;
        let suspicion = limit.suspect(config, limit.value(), cause());
        let succeeding = {
            let (shared, seen) = (Arc::clone(&shared), limit.value());
            thread::spawn(move || {
                let (limit, config) = &*shared;
                limit.succeed(config, seen, None).was_suspected
            })
        };
        let marked = limit.convict(config, limit.value(), suspicion, cause());
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
        let shared = Arc::new((Limit::new(), config()));
        let threads = [(), ()].map(|()| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (limit, config) = &*shared;
                let suspicion = limit.suspect(config, limit.value(), cause());
                limit.convict(config, limit.value(), suspicion, cause())
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
        let shared = Arc::new((Limit::new(), config()));
        let (limit, config) = &*shared;
        limit.mark_permanently(config, limit.value(), cause());
        let threads = [(), ()].map(|()| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (limit, config) = &*shared;
                usize::from(take(limit, config).is_some())
            })
        });
        let takers: usize = threads.map(|thread| thread.join().unwrap()).iter().sum();
        assert_eq!(takers, 1);
    });
}

#[test]
fn a_successful_probe_does_not_bring_back_a_disabled_key() {
    race_marked(take_and_succeed, disable, |limit, config| {
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
    race_marked(mark_permanent, take_and_drop, |limit, config| {
        let availability = limit.availability(config, &mut LazyNow::default());
        assert_eq!(availability, Availability::ProbeDue);
    });
}
