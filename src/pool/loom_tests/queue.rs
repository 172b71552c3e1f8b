//! All interleavings of waiting, leaving and waking. If a waiter were forgotten, a test would end with
//! a thread that waits forever.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use loom::future::block_on;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use super::{HOUR, model};
use crate::pool::pooled_key::KeyIdentity;
use crate::pool::queue::{Turn, WaitQueue, Waiter, Wants};
use crate::sync::now;

fn queue() -> Arc<WaitQueue> {
    Arc::new(WaitQueue::new(2))
}

fn join(queue: &Arc<WaitQueue>) -> Option<Waiter> {
    Waiter::join(queue, Wants::default(), now() + HOUR)
}

/// A waiter that cannot use the key with this number.
fn join_without(queue: &Arc<WaitQueue>, key: usize) -> Waiter {
    let mut wants = Wants::default();
    wants.excluded.push(KeyIdentity::of_number(key));
    Waiter::join(queue, wants, now() + HOUR).unwrap()
}

/// Waits until `waiter` has its turn and `is_back` returns true.
fn wait(waiter: &Waiter, is_back: impl Fn() -> bool) {
    block_on(poll_fn(|cx| match waiter.poll_turn(cx, now() + HOUR) {
        Turn::Look { .. } if is_back() => Poll::Ready(()),
        Turn::Look { round } => {
            waiter.pass(round, now() + HOUR);
            Poll::Pending
        }
        Turn::Later(_) => Poll::Pending,
    }));
}

#[test]
fn a_waiter_becomes_the_first_when_the_first_leaves() {
    model(|| {
        let queue = queue();
        let front = join(&queue).unwrap();
        let behind = join(&queue).unwrap();
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
        let front = join(&queue).unwrap();
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
        let front = join(&queue).unwrap();
        let behind = join(&queue).unwrap();
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
        let _first = join(&queue).unwrap();
        let threads = [(), ()].map(|()| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || join(&queue))
        });
        let waiters = threads.map(|thread| thread.join().unwrap());
        assert_eq!(waiters.iter().flatten().count(), 1);
    });
}

#[test]
fn the_first_waiter_learns_of_a_mark_made_before_or_after_it_joined() {
    model(|| {
        let queue = queue();
        let is_out = Arc::new(AtomicBool::new(false));
        let marking = {
            let (queue, is_out) = (Arc::clone(&queue), Arc::clone(&is_out));
            thread::spawn(move || {
                is_out.store(true, Ordering::Relaxed);
                queue.wake();
            })
        };
        let front = join(&queue).unwrap();
        wait(&front, || is_out.load(Ordering::Relaxed));
        marking.join().unwrap();
    });
}

#[test]
fn a_waiter_learns_of_a_key_that_the_first_cannot_use() {
    model(|| {
        let queue = queue();
        let is_back = Arc::new(AtomicBool::new(false));
        let front = join_without(&queue, 0);
        let behind = join(&queue).unwrap();
        // The first waits for something else, until the other one is done.
        let is_done = Arc::new(AtomicBool::new(false));
        let looking = {
            let (queue, is_done) = (Arc::clone(&queue), Arc::clone(&is_done));
            thread::spawn(move || {
                wait(&front, || is_done.load(Ordering::Relaxed));
                drop(queue);
            })
        };
        let returning = {
            let (queue, is_back) = (Arc::clone(&queue), Arc::clone(&is_back));
            thread::spawn(move || {
                is_back.store(true, Ordering::Relaxed);
                queue.wake();
            })
        };
        wait(&behind, || is_back.load(Ordering::Relaxed));
        is_done.store(true, Ordering::Relaxed);
        queue.wake();
        returning.join().unwrap();
        looking.join().unwrap();
    });
}

/// What happens to a waiter, or to the queue, while a key returns.
type Act = fn(&Arc<WaitQueue>, Waiter);

fn leave(_: &Arc<WaitQueue>, waiter: Waiter) {
    drop(waiter);
}

fn look_and_leave(_: &Arc<WaitQueue>, waiter: Waiter) {
    look(&waiter);
}

fn wake_and_leave(queue: &Arc<WaitQueue>, _waiter: Waiter) {
    queue.wake();
}

fn join_and_leave(queue: &Arc<WaitQueue>, _waiter: Waiter) {
    let joined = join(queue);
    joined.iter().for_each(look);
}

/// Looks once, in vain.
fn look(waiter: &Waiter) {
    block_on(poll_fn(|cx| {
        if let Turn::Look { round } = waiter.poll_turn(cx, now() + HOUR) {
            waiter.pass(round, now() + HOUR);
        }
        Poll::Ready(())
    }));
}

#[test]
fn no_action_of_another_waiter_hides_a_returned_key() {
    for act in [leave as Act, look_and_leave, wake_and_leave, join_and_leave] {
        model(move || {
            let queue = Arc::new(WaitQueue::new(3));
            let is_back = Arc::new(AtomicBool::new(false));
            let front = join_without(&queue, 0);
            let behind = join(&queue).unwrap();
            let acting = {
                let queue = Arc::clone(&queue);
                thread::spawn(move || act(&queue, front))
            };
            let returning = {
                let (queue, is_back) = (Arc::clone(&queue), Arc::clone(&is_back));
                thread::spawn(move || {
                    is_back.store(true, Ordering::Relaxed);
                    queue.wake();
                })
            };
            wait(&behind, || is_back.load(Ordering::Relaxed));
            acting.join().unwrap();
            returning.join().unwrap();
        });
    }
}
