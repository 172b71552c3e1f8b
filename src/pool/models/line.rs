//! Those who wait, those who leave, and those who say that a key has returned: nobody is forgotten,
//! or the model ends with a thread that waits for ever.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use loom::future::block_on;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::{model, rules};
use crate::pool::line::Place;
use crate::pool::shared::Shared;

fn shared() -> Arc<Shared> {
    Arc::new(Shared::new(rules()))
}

/// Waits at `place` until it is the front, and there `is_back` says so.
fn wait(place: &Place, is_back: impl Fn() -> bool) {
    block_on(poll_fn(|cx| match place.is_front(cx) && is_back() {
        true => Poll::Ready(()),
        false => Poll::Pending,
    }));
}

#[test]
fn who_stands_behind_comes_to_the_front_when_the_front_leaves() {
    model(|| {
        let shared = shared();
        let front = Place::take(&shared, true).unwrap();
        let behind = Place::take(&shared, true).unwrap();
        let leaving = thread::spawn(move || drop(front));
        wait(&behind, || true);
        leaving.join().unwrap();
        drop(behind);
        assert!(shared.line.is_empty());
    });
}

#[test]
fn the_front_learns_of_a_return_whenever_it_comes() {
    model(|| {
        let shared = shared();
        let is_back = Arc::new(AtomicBool::new(false));
        let front = Place::take(&shared, true).unwrap();
        let returning = {
            let (shared, is_back) = (Arc::clone(&shared), Arc::clone(&is_back));
            thread::spawn(move || {
                is_back.store(true, Ordering::Relaxed);
                shared.line.stir();
            })
        };
        wait(&front, || is_back.load(Ordering::Relaxed));
        returning.join().unwrap();
    });
}

#[test]
fn a_return_that_the_front_leaves_without_is_learned_of_by_the_next() {
    model(|| {
        let shared = shared();
        let is_back = Arc::new(AtomicBool::new(false));
        let front = Place::take(&shared, true).unwrap();
        let behind = Place::take(&shared, true).unwrap();
        let returning = {
            let (shared, is_back) = (Arc::clone(&shared), Arc::clone(&is_back));
            thread::spawn(move || {
                is_back.store(true, Ordering::Relaxed);
                shared.line.stir();
            })
        };
        let leaving = thread::spawn(move || drop(front));
        wait(&behind, || is_back.load(Ordering::Relaxed));
        returning.join().unwrap();
        leaving.join().unwrap();
    });
}

#[test]
fn of_those_who_come_at_once_no_more_are_let_in_than_there_is_room_for() {
    model(|| {
        let shared = shared();
        let _first = Place::take(&shared, true).unwrap();
        let threads = [(), ()].map(|()| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || Place::take(&shared, true))
        });
        let places = threads.map(|thread| thread.join().unwrap());
        assert_eq!(places.iter().flatten().count(), 1);
    });
}

#[test]
fn the_front_learns_of_a_mark_whether_it_comes_before_the_place_is_taken_or_after() {
    for uses_every_key in [true, false] {
        model(move || {
            let shared = shared();
            let is_out = Arc::new(AtomicBool::new(false));
            let marking = {
                let (shared, is_out) = (Arc::clone(&shared), Arc::clone(&is_out));
                thread::spawn(move || {
                    is_out.store(true, Ordering::Relaxed);
                    shared.line.stir_any();
                })
            };
            let front = Place::take(&shared, uses_every_key).unwrap();
            wait(&front, || is_out.load(Ordering::Relaxed));
            marking.join().unwrap();
        });
    }
}
