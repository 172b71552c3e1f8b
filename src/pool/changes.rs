//! Wakes those who share the pool with other processes when the state of a limit changed.

use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

pub(super) struct Changes {
    /// How often something changed.
    count: AtomicU64,
    waiting: Mutex<Vec<Waker>>,
}

impl Changes {
    pub(super) fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
            waiting: Mutex::new(Vec::new()),
        }
    }

    /// Call this after a change. Nothing on the way of a request that succeeds does.
    pub(super) fn notify(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        let waiting = std::mem::take(&mut *self.lock());
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits until something has changed since the count was `seen`, which becomes the current one.
    pub(super) fn poll_changed(&self, seen: &mut u64, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.lock();
        let count = self.count.load(Ordering::SeqCst);
        if count != *seen {
            *seen = count;
            return Poll::Ready(());
        }
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn lock(&self) -> crate::sync::MutexGuard<'_, Vec<Waker>> {
        // No code panics while it holds the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
