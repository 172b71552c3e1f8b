//! Those who wait for a key: in order of arrival, and not without bound.
//!
//! Only who is at the front looks for a key; whoever leaves makes room for the next.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Waker};

use super::shared::Shared;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};

pub(super) struct Line {
    bound: usize,
    /// How many there are: to be read without the lock.
    length: AtomicUsize,
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    next: u64,
    /// In order of their numbers.
    waiting: VecDeque<(u64, Option<Waker>)>,
}

impl Line {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            bound,
            length: AtomicUsize::new(0),
            places: Mutex::new(Places::default()),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length.load(Ordering::Relaxed) == 0
    }

    /// Has the front look again: a key may have returned.
    pub(super) fn stir(&self) {
        let mut places = self.lock();
        let waker = places
            .waiting
            .front_mut()
            .and_then(|(_, waker)| waker.take());
        drop(places);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        // Nothing panics while it is held.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the line, given up when it is dropped.
pub(crate) struct Place {
    shared: Arc<Shared>,
    number: u64,
}

impl Place {
    /// The last place; `None` if the line is full.
    pub(super) fn take(shared: &Arc<Shared>) -> Option<Self> {
        let mut places = shared.line.lock();
        if places.waiting.len() >= shared.line.bound {
            return None;
        }
        let number = places.next;
        places.next += 1;
        places.waiting.push_back((number, None));
        shared
            .line
            .length
            .store(places.waiting.len(), Ordering::Relaxed);
        drop(places);
        Some(Self {
            shared: Arc::clone(shared),
            number,
        })
    }

    /// Whether this is the front. The task is woken when it becomes that, and when the front is to
    /// look again.
    pub(crate) fn is_front(&self, cx: &Context<'_>) -> bool {
        let fresh = cx.waker().clone();
        let mut places = self.shared.line.lock();
        let at = places
            .waiting
            .partition_point(|(number, _)| *number < self.number);
        let stale = places.waiting[at].1.replace(fresh);
        drop(places);
        drop(stale);
        at == 0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.shared.line.lock();
        let at = places
            .waiting
            .partition_point(|(number, _)| *number < self.number);
        let left = places.waiting.remove(at);
        self.shared
            .line
            .length
            .store(places.waiting.len(), Ordering::Relaxed);
        let front = if at == 0 {
            places
                .waiting
                .front_mut()
                .and_then(|(_, waker)| waker.take())
        } else {
            None
        };
        drop(places);
        drop(left);
        if let Some(waker) = front {
            waker.wake();
        }
    }
}
