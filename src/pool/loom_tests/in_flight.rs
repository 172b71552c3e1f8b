//! All interleavings of requests that begin and end with a key at its cap.

use std::sync::Arc;

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

use super::model;
use crate::pool::in_flight::{Capacities, Capacity, InFlightCounter};

fn capacity(max: u32) -> Capacity {
    Capacity {
        counter: Arc::new(InFlightCounter::default()),
        max: Some(max),
    }
}

/// Begins and ends a request, and checks that no more than `max` are in flight. Returns whether there
/// was room.
fn request(capacities: &Capacities, in_flight: &AtomicU32, max: u32) -> bool {
    let has_room = capacities.add();
    if has_room {
        assert!(in_flight.fetch_add(1, Ordering::Relaxed) < max);
        in_flight.fetch_sub(1, Ordering::Relaxed);
        capacities.remove();
    }
    has_room
}

#[test]
fn a_cap_is_never_exceeded_and_no_place_is_lost() {
    model(|| {
        let capacities = Arc::new(Capacities {
            own: Some(capacity(1)),
            group: None,
        });
        let in_flight = Arc::new(AtomicU32::new(0));
        let other = {
            let (capacities, in_flight) = (Arc::clone(&capacities), Arc::clone(&in_flight));
            thread::spawn(move || request(&capacities, &in_flight, 1))
        };
        let had_room = request(&capacities, &in_flight, 1);
        assert!(other.join().unwrap() || had_room);
        assert!(capacities.add(), "the place is free again");
    });
}

#[test]
fn a_request_that_its_group_turns_away_leaves_the_place_of_its_key() {
    model(|| {
        let group = capacity(1);
        let key = || Capacities {
            own: Some(capacity(1)),
            group: Some(group.clone()),
        };
        let (one, two) = (key(), Arc::new(key()));
        let in_flight = Arc::new(AtomicU32::new(0));
        let other = {
            let (two, in_flight) = (Arc::clone(&two), Arc::clone(&in_flight));
            thread::spawn(move || request(&two, &in_flight, 1))
        };
        let had_room = request(&one, &in_flight, 1);
        assert!(other.join().unwrap() || had_room);
        assert!(one.add());
        one.remove();
        assert!(two.add());
    });
}
