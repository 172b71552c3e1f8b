//! All interleavings of taking, postponing and giving back one probe.

use loom::sync::Arc;
use loom::thread;

use super::model;
use crate::pool::state::{ProbeSchedule, StateValue};

const LATE: u64 = 9;

#[test]
fn a_probe_that_is_postponed_while_it_ends_is_both_postponed_and_given_back() {
    model(|| {
        let schedule = Arc::new(ProbeSchedule::new());
        let state = StateValue::permanent(0);
        assert!(schedule.take(state, schedule.plan(state)));
        let other = Arc::clone(&schedule);
        let marker = thread::spawn(move || other.update(state, |plan| plan.due = LATE));
        schedule.update(state, |plan| plan.taken = false);
        marker.join().unwrap();
        let plan = schedule.plan(state);
        assert_eq!((plan.due, plan.taken), (LATE, false));
    });
}

#[test]
fn late_changes_of_an_older_generation_have_no_effect() {
    model(|| {
        let schedule = Arc::new(ProbeSchedule::new());
        let (old, new) = (StateValue::permanent(0), StateValue::permanent(1));
        let seen = schedule.plan(old);
        let threads = [
            {
                let schedule = Arc::clone(&schedule);
                thread::spawn(move || schedule.update(new, |plan| plan.due = LATE))
            },
            {
                let schedule = Arc::clone(&schedule);
                thread::spawn(move || {
                    schedule.take(old, seen);
                    schedule.update(old, |plan| plan.taken = false);
                })
            },
        ];
        for thread in threads {
            thread.join().unwrap();
        }
        let plan = schedule.plan(new);
        assert_eq!((plan.due, plan.taken), (LATE, false));
    });
}
