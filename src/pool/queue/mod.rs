//! The wait queue: requests that wait for a key, in order of arrival and up to a bound.
//!
//! The queue has two rows. Requests that can use every key wait in one row. Requests that leave out
//! some keys wait in the other, because they would block waiters that can use those keys. Only the
//! first waiter of each row looks for a key. When it leaves, it wakes the next one.

mod waiter;
mod wake_when_due;

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::task::Waker;

pub(crate) use self::waiter::Waiter;
pub(crate) use self::wake_when_due::Outlook;
use crate::sync::atomic::{AtomicUsize, Ordering, fence};
use crate::sync::{Mutex, MutexGuard};

pub(super) struct WaitQueue {
    bound: usize,
    /// The length of each row, readable without the lock.
    lengths: [AtomicUsize; 2],
    rows: Mutex<Rows>,
}

#[derive(Default)]
struct Rows {
    next_number: u64,
    /// Waiters that can use every key, and waiters that cannot.
    rows: [Row; 2],
}

/// Waiters in the order of their numbers.
type Row = VecDeque<(u64, Option<Waker>)>;

impl WaitQueue {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            bound,
            lengths: [AtomicUsize::new(0), AtomicUsize::new(0)],
            rows: Mutex::new(Rows::default()),
        }
    }

    /// Whether no request waits that can use every key.
    pub(super) fn is_empty(&self) -> bool {
        self.lengths[0].load(Ordering::Relaxed) == 0
    }

    /// Wakes the first waiter of each row, because a key may have returned.
    pub(super) fn wake(&self) {
        let mut rows = self.lock();
        let wakers = rows.rows.each_mut().map(first_waker);
        drop(rows);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Wakes the first waiter of each row, if there is one. A key was marked, and may have been the last
    /// one that could return.
    pub(super) fn wake_if_waiting(&self) {
        // Either this call sees a new waiter, or that waiter sees what happened before this call.
        fence(Ordering::SeqCst);
        let mut lengths = self.lengths.iter();
        if lengths.any(|length| length.load(Ordering::Relaxed) != 0) {
            self.wake();
        }
    }

    fn store_lengths(&self, rows: &Rows) {
        for (length, row) in self.lengths.iter().zip(&rows.rows) {
            length.store(row.len(), Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        // No code panics while it holds the lock.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn first_waker(row: &mut Row) -> Option<Waker> {
    row.front_mut()?.1.take()
}
