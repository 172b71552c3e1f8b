//! Marks, trials, returns and looks at one gate, each pair of them at once.

use loom::sync::Arc;
use loom::thread;

use super::{model, rules};
use crate::pool::clock::LazyNow;
use crate::pool::gate::{Gate, Lent, Standing};
use crate::pool::reason::{Cause, Reason};
use crate::pool::rules::Rules;
use crate::pool::word::{Stamp, Until};

fn cause() -> Cause {
    Cause::of(Reason::Other)
}

type Act = fn(&Gate, &Rules, Stamp);

// What a thread may do. The stamp is what the gate said before any of them began: that of an attempt
// under way, or of a trial.

fn mark_temporary(gate: &Gate, rules: &Rules, seen: Stamp) {
    gate.put_out(rules, seen.generation(), None, cause());
}

fn mark_permanent(gate: &Gate, rules: &Rules, seen: Stamp) {
    gate.put_out_for_good(rules, seen.generation(), cause());
}

fn reinstate(gate: &Gate, rules: &Rules, _: Stamp) {
    gate.reinstate(rules);
}

fn disable(gate: &Gate, _: &Rules, _: Stamp) {
    gate.disable();
}

fn remove(gate: &Gate, _: &Rules, _: Stamp) {
    gate.remove();
}

fn look(gate: &Gate, rules: &Rules, _: Stamp) {
    let mut now = LazyNow::default();
    gate.standing(rules, &mut now);
    gate.state(rules, &mut now);
}

fn succeed(gate: &Gate, rules: &Rules, seen: Stamp) {
    gate.succeeded(rules, seen.generation());
}

fn try_and_succeed(gate: &Gate, rules: &Rules, _: Stamp) {
    if let Lent::To(lease) = gate.lend(rules, &mut LazyNow::default()) {
        lease.succeeded(gate);
    }
}

fn try_and_fail(gate: &Gate, rules: &Rules, _: Stamp) {
    if let Lent::To(lease) = gate.lend(rules, &mut LazyNow::default()) {
        gate.put_out_for_good(rules, lease.seen.generation(), cause());
        lease.spent(gate, rules, 1);
    }
}

fn try_and_give_back(gate: &Gate, rules: &Rules, _: Stamp) {
    if let Lent::To(lease) = gate.lend(rules, &mut LazyNow::default()) {
        lease.given_back(gate);
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
    try_and_succeed,
    try_and_fail,
    try_and_give_back,
];

/// Runs both on threads of their own over a gate that is permanently out and due, and has a look at
/// the end.
fn race(one: Act, other: Act, check: fn(&Gate, &Rules)) {
    model(move || {
        let shared = Arc::new((Gate::new(), rules()));
        let (gate, rules) = &*shared;
        gate.put_out_for_good(rules, 0, cause());
        let seen = gate.stamp();
        let threads = [one, other].map(|act| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (gate, rules) = &*shared;
                let before = gate.stamp();
                act(gate, rules, seen);
                assert!(gate.stamp() >= before, "the word only grows");
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        check(gate, rules);
    });
}

/// What holds at the end whatever happened.
fn nothing_is_stuck(gate: &Gate, rules: &Rules) {
    let stamp = gate.stamp();
    let offer = gate.trial.offer(stamp);
    assert!(!offer.held, "a trial that is over holds nothing");
    if stamp == Stamp::REMOVED {
        assert_eq!(
            gate.standing(rules, &mut LazyNow::default()),
            Standing::Shut
        );
    }
    if stamp.until() == Until::Now {
        assert_eq!(
            gate.standing(rules, &mut LazyNow::default()),
            Standing::Open
        );
    }
}

#[test]
fn of_every_pair_nothing_is_stuck() {
    for (at, one) in ACTS.into_iter().enumerate() {
        for other in &ACTS[at..] {
            race(one, *other, nothing_is_stuck);
        }
    }
}

#[test]
fn of_two_who_would_try_a_key_one_does() {
    model(|| {
        let shared = Arc::new((Gate::new(), rules()));
        let (gate, rules) = &*shared;
        gate.put_out_for_good(rules, 0, cause());
        let threads = [(), ()].map(|()| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (gate, rules) = &*shared;
                let lent = gate.lend(rules, &mut LazyNow::default());
                usize::from(matches!(lent, Lent::To(_)))
            })
        });
        let takers: usize = threads.map(|thread| thread.join().unwrap()).iter().sum();
        assert_eq!(takers, 1);
    });
}

#[test]
fn a_trial_that_succeeds_does_not_bring_back_a_disabled_key() {
    race(try_and_succeed, disable, |gate, rules| {
        assert_eq!(gate.stamp().until(), Until::Never);
        let standing = gate.standing(rules, &mut LazyNow::default());
        assert_eq!(standing, Standing::Shut, "nor is it due");
    });
}

#[test]
fn a_late_mark_never_undoes_a_return() {
    for mark in [mark_temporary, mark_permanent] {
        race(reinstate, mark, |gate, rules| {
            let standing = gate.standing(rules, &mut LazyNow::default());
            assert_eq!(standing, Standing::Open);
        });
    }
}

#[test]
fn a_mark_keeps_its_trial_whatever_one_before_it_does() {
    race(mark_permanent, try_and_give_back, |gate, rules| {
        let standing = gate.standing(rules, &mut LazyNow::default());
        assert_eq!(standing, Standing::Due);
    });
}
