use std::sync::Arc;
use std::task::Context;

use super::{Row, WaitQueue, first_waker};
use crate::sync::atomic::{Ordering, fence};

/// A position in the wait queue. Dropping it leaves the queue.
pub(crate) struct Waiter {
    queue: Arc<WaitQueue>,
    row: usize,
    number: u64,
}

impl Waiter {
    /// Joins the end of the queue, or returns `None` if it is full.
    pub(in crate::pool) fn join(queue: &Arc<WaitQueue>, can_use_every_key: bool) -> Option<Self> {
        let row = usize::from(!can_use_every_key);
        let mut rows = queue.lock();
        if rows.rows.iter().map(Row::len).sum::<usize>() >= queue.bound {
            return None;
        }
        let number = rows.next_number;
        rows.next_number += 1;
        rows.rows[row].push_back((number, None));
        queue.store_lengths(&rows);
        drop(rows);
        // Before the request looks for a key: see `WaitQueue::wake_if_waiting`.
        fence(Ordering::SeqCst);
        Some(Self {
            queue: Arc::clone(queue),
            row,
            number,
        })
    }

    fn find(&self, row: &Row) -> usize {
        row.partition_point(|(number, _)| *number < self.number)
    }

    /// Whether this waiter is the first of its row. The task is woken when it becomes the first, and
    /// when the first waiter has to look again.
    pub(crate) fn is_first(&self, cx: &Context<'_>) -> bool {
        let fresh = cx.waker().clone();
        let mut rows = self.queue.lock();
        let row = &mut rows.rows[self.row];
        let at = self.find(row);
        let stale = row[at].1.replace(fresh);
        drop(rows);
        drop(stale);
        at == 0
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut rows = self.queue.lock();
        let row = &mut rows.rows[self.row];
        let at = self.find(row);
        let left = row.remove(at);
        let next = if at == 0 { first_waker(row) } else { None };
        self.queue.store_lengths(&rows);
        drop(rows);
        drop(left);
        if let Some(waker) = next {
            waker.wake();
        }
    }
}
