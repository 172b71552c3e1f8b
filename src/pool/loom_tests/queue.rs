//! All interleavings of waiting, leaving and waking. If a waiter were forgotten, a test would end with
//! a thread that waits forever.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use loom::future::block_on;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::model;
use crate::pool::queue::{WaitQueue, Waiter};

fn queue() -> Arc<WaitQueue> {
    Arc::new(WaitQueue::new(2))
}

/// Waits until `waiter` is the first and `is_back` returns true.
fn wait(waiter: &Waiter, is_back: impl Fn() -> bool) {
    block_on(poll_fn(|cx| match waiter.is_first(cx) && is_back() {
        true => Poll::Ready(()),
        false => Poll::Pending,
    }));
}

#[test]
fn a_waiter_becomes_the_first_when_the_first_leaves() {
    model(|| {
        let queue = queue();
        let front = Waiter::join(&queue, true).unwrap();
        let behind = Waiter::join(&queue, true).unwrap();
        let leaving = thread::spawn(move || drop(front));
        wait(&behind, || true);
        leaving.join().unwrap();
        drop(behind);
        assert!(queue.is_empty());
    });
}

#[test]
fn the_first_waiter_learns_of_a_returned_key() {
    model(|| {
        let queue = queue();
        let is_back = Arc::new(AtomicBool::new(false));
        let front = Waiter::join(&queue, true).unwrap();
        let returning = {
            let (queue, is_back) = (Arc::clone(&queue), Arc::clone(&is_back));
            thread::spawn(move || {
                is_back.store(true, Ordering::Relaxed);
                queue.wake();
            })
        };
        wait(&front, || is_back.load(Ordering::Relaxed));
        returning.join().unwrap();
    });
}

#[test]
fn the_next_waiter_learns_of_a_key_that_returned_while_the_first_left() {
    model(|| {
        let queue = queue();
        let is_back = Arc::new(AtomicBool::new(false));
        let front = Waiter::join(&queue, true).unwrap();
        let behind = Waiter::join(&queue, true).unwrap();
        let returning = {
            let (queue, is_back) = (Arc::clone(&queue), Arc::clone(&is_back));
            thread::spawn(move || {
                is_back.store(true, Ordering::Relaxed);
                queue.wake();
            })
        };
        let leaving = thread::spawn(move || drop(front));
        wait(&behind, || is_back.load(Ordering::Relaxed));
        returning.join().unwrap();
        leaving.join().unwrap();
    });
}

#[test]
fn no_more_requests_than_the_bound_join_the_queue() {
    model(|| {
        let queue = queue();
        let _first = Waiter::join(&queue, true).unwrap();
        let threads = [(), ()].map(|()| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || Waiter::join(&queue, true))
        });
        let waiters = threads.map(|thread| thread.join().unwrap());
        assert_eq!(waiters.iter().flatten().count(), 1);
    });
}

#[test]
fn the_first_waiter_learns_of_a_mark_made_before_or_after_it_joined() {
    for can_use_every_key in [true, false] {
        model(move || {
            let queue = queue();
            let is_out = Arc::new(AtomicBool::new(false));
            let marking = {
                let (queue, is_out) = (Arc::clone(&queue), Arc::clone(&is_out));
                thread::spawn(move || {
                    is_out.store(true, Ordering::Relaxed);
                    queue.wake_if_waiting();
                })
            };
            let front = Waiter::join(&queue, can_use_every_key).unwrap();
            wait(&front, || is_out.load(Ordering::Relaxed));
            marking.join().unwrap();
        });
    }
}
