//! All interleavings of taking, postponing and ending one probe.

use loom::sync::Arc;
use loom::thread;

use super::model;
use crate::pool::state::{ProbeSchedule, StateValue};

const LATE: u64 = 9;

#[test]
fn a_mark_postpones_a_probe_that_ends_at_the_same_time() {
    model(|| {
        let schedule = Arc::new(ProbeSchedule::new());
        let state = StateValue::permanent(0);
        let token = schedule.take(state, schedule.plan(state), 1).unwrap();
        let other = Arc::clone(&schedule);
        let marker = thread::spawn(move || other.update(state, |plan| plan.due = LATE));
        schedule.finish(token, |plan| plan.due = 2);
        marker.join().unwrap();
        let plan = schedule.plan(state);
        assert_eq!((plan.due, plan.taken), (LATE, false));
    });
}

#[test]
fn one_of_two_requests_takes_over_a_probe_that_expired() {
    model(|| {
        let schedule = Arc::new(ProbeSchedule::new());
        let state = StateValue::permanent(0);
        let hung = schedule.take(state, schedule.plan(state), 1).unwrap();
        let threads = [(), ()].map(|()| {
            let schedule = Arc::clone(&schedule);
            thread::spawn(move || {
                let plan = schedule.plan(state);
                plan.due == 1 && schedule.take(state, plan, LATE).is_some()
            })
        });
        schedule.finish(hung, |plan| plan.due = 0);
        let takers = threads.map(|thread| usize::from(thread.join().unwrap()));
        let plan = schedule.plan(state);
        match takers.iter().sum() {
            0 => assert_eq!((plan.due, plan.taken), (0, false)),
            1 => assert_eq!((plan.due, plan.taken), (LATE, true)),
            more => panic!("{more} requests took the probe"),
        }
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
                    if let Some(token) = schedule.take(old, seen, 5) {
                        schedule.finish(token, |plan| plan.due = 1);
                    }
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
