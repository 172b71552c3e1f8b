use std::sync::Arc;
use std::task::{Context, Waker};

use tokio::time::Instant;

use super::WaitQueue;
use super::wants::Wants;
use crate::sync::atomic::{Ordering, fence};
use crate::sync::now;

/// A position in the wait queue. Dropping it leaves the queue.
pub(crate) struct Waiter {
    queue: Arc<WaitQueue>,
    number: u64,
}

/// Whether a waiter looks for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It does so now. If it finds nothing, it [passes](Waiter::pass) its turn.
    Look { round: u64 },
    /// Others look first. It asks again when it is woken, and at this time.
    Later(Instant),
}

impl Waiter {
    /// Joins the end of the queue until `deadline`, or returns `None` if it is full.
    pub(in crate::pool) fn join(
        queue: &Arc<WaitQueue>,
        wants: Wants,
        deadline: Instant,
    ) -> Option<Self> {
        let mut line = queue.lock();
        if line.len() >= queue.bound {
            return None;
        }
        let number = line.push(wants, deadline, now());
        queue.len.store(line.len(), Ordering::Relaxed);
        drop(line);
        // Before the request looks for a key: see `WaitQueue::wake`.
        fence(Ordering::SeqCst);
        Some(Self {
            queue: Arc::clone(queue),
            number,
        })
    }

    /// Whether this waiter looks for a key now. The task is woken when it has its turn.
    pub(crate) fn poll_turn(&self, cx: &Context<'_>, deadline: Instant) -> Turn {
        let waker = cx.waker().clone();
        let mut line = self.queue.lock();
        let stale = line.register(self.number, waker, deadline);
        let (turn, woken) = line.poll_turn(self.number, now());
        drop(line);
        drop(stale);
        woken.inspect(Waker::wake_by_ref);
        turn
    }

    /// Gives the turn to the next waiter, after looking in vain. This waiter looks again when it is
    /// woken, and when a key is `due` for it. That may be after its deadline: if it leaves before, a
    /// waiter behind it, which relies on it, looks instead.
    pub(crate) fn pass(&self, round: u64, due: Instant) {
        let woken = self.queue.lock().pass(self.number, round, due, now());
        woken.inspect(Waker::wake_by_ref);
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut line = self.queue.lock();
        let [stored, woken] = line.leave(self.number, now());
        self.queue.len.store(line.len(), Ordering::Relaxed);
        drop(line);
        drop(stored);
        woken.inspect(Waker::wake_by_ref);
    }
}
