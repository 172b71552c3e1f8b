//! The wait queue: requests that wait for a key, in order of arrival and up to a bound.
//!
//! When something changes or is due, a round begins: the first waiter looks for a key. If it finds none,
//! its turn goes to the next waiter that may find one, because it can use other keys. A round therefore
//! wakes few waiters, and a waiter that cannot use a key blocks nobody. Neither does a waiter that is not
//! polled: it is passed over after a while, and at once after its deadline.

mod line;
mod waiter;
mod wake_when_due;
mod wants;

use std::sync::PoisonError;
use std::task::Waker;

use self::line::Line;
pub(crate) use self::waiter::{Turn, Waiter};
pub(crate) use self::wake_when_due::Outlook;
pub(super) use self::wants::Wants;
use super::pooled_key::PooledKey;
use crate::sync::atomic::{AtomicUsize, Ordering, fence};
use crate::sync::{Mutex, MutexGuard, now};

pub(super) struct WaitQueue {
    bound: usize,
    /// The number of waiters, readable without the lock.
    len: AtomicUsize,
    line: Mutex<Line>,
}

impl WaitQueue {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            bound,
            len: AtomicUsize::new(0),
            line: Mutex::new(Line::default()),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    /// Whether a request waits that can use `key`.
    pub(super) fn has_waiter_for(&self, key: &PooledKey) -> bool {
        !self.is_empty() && self.lock().has_waiter_for(key, now())
    }

    /// Begins a round, because a key may have returned, or the last one that could return was marked.
    pub(super) fn wake(&self) {
        self.wake_one(|line| line.begin_round(now()));
    }

    /// The same if only `key` and its group have changed.
    pub(super) fn wake_for(&self, key: &PooledKey) {
        self.wake_one(|line| match key.group {
            None => line.begin_round_for(key, now()),
            Some(_) => line.begin_round(now()),
        });
    }

    fn wake_one(&self, begin_round: impl FnOnce(&mut Line) -> Option<Waker>) {
        // Either this call sees a new waiter, or that waiter sees what happened before this call.
        fence(Ordering::SeqCst);
        if !self.is_empty() {
            let waker = begin_round(&mut self.lock());
            waker.inspect(Waker::wake_by_ref);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // No code panics while it holds the lock.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
