//! Those who wait for a key: in order of arrival, and not without bound.
//!
//! Only who is at the front looks for a key; whoever leaves makes room for the next. Requests that
//! do not use every key stand in a row of their own: they would hold up those who could use one that
//! they leave.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Waker};

use super::shared::Shared;
use crate::sync::atomic::{AtomicUsize, Ordering, fence};
use crate::sync::{Mutex, MutexGuard};

pub(super) struct Line {
    bound: usize,
    /// How many there are in each row: to be read without the lock.
    lengths: [AtomicUsize; 2],
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    next: u64,
    /// Those who use every key, and those who do not.
    rows: [Row; 2],
}

/// In order of their numbers.
type Row = VecDeque<(u64, Option<Waker>)>;

impl Line {
    pub(super) fn new(bound: usize) -> Self {
        Self {
            bound,
            lengths: [AtomicUsize::new(0), AtomicUsize::new(0)],
            places: Mutex::new(Places::default()),
        }
    }

    /// Whether nobody waits who uses every key.
    pub(super) fn is_empty(&self) -> bool {
        self.lengths[0].load(Ordering::Relaxed) == 0
    }

    /// Has who is at a front look again: a key may have returned.
    pub(super) fn stir(&self) {
        let mut places = self.lock();
        let wakers = places.rows.each_mut().map(front_waker);
        drop(places);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// Has who is at a front look again, if anybody waits: a key was put out, and may have been the
    /// last.
    pub(super) fn stir_any(&self) {
        // Either this sees the place that was taken, or who took it sees what came before this.
        fence(Ordering::SeqCst);
        let mut lengths = self.lengths.iter();
        if lengths.any(|length| length.load(Ordering::Relaxed) != 0) {
            self.stir();
        }
    }

    fn note_lengths(&self, places: &Places) {
        for (length, row) in self.lengths.iter().zip(&places.rows) {
            length.store(row.len(), Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        // Nothing panics while it is held.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn front_waker(row: &mut Row) -> Option<Waker> {
    row.front_mut()?.1.take()
}

/// A place in the line, given up when it is dropped.
pub(crate) struct Place {
    shared: Arc<Shared>,
    row: usize,
    number: u64,
}

impl Place {
    /// The last place, for one who uses every key or does not; `None` if the line is full.
    pub(super) fn take(shared: &Arc<Shared>, uses_every_key: bool) -> Option<Self> {
        let row = usize::from(!uses_every_key);
        let mut places = shared.line.lock();
        if places.rows.iter().map(Row::len).sum::<usize>() >= shared.line.bound {
            return None;
        }
        let number = places.next;
        places.next += 1;
        places.rows[row].push_back((number, None));
        shared.line.note_lengths(&places);
        drop(places);
        // Before it looks for a key: see `stir_any`.
        fence(Ordering::SeqCst);
        Some(Self {
            shared: Arc::clone(shared),
            row,
            number,
        })
    }

    fn find(&self, row: &Row) -> usize {
        row.partition_point(|(number, _)| *number < self.number)
    }

    /// Whether this is at the front. The task is woken when it comes there, and when the front is to
    /// look again.
    pub(crate) fn is_front(&self, cx: &Context<'_>) -> bool {
        let fresh = cx.waker().clone();
        let mut places = self.shared.line.lock();
        let row = &mut places.rows[self.row];
        let at = self.find(row);
        let stale = row[at].1.replace(fresh);
        drop(places);
        drop(stale);
        at == 0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.shared.line.lock();
        let row = &mut places.rows[self.row];
        let at = self.find(row);
        let left = row.remove(at);
        let next = if at == 0 { front_waker(row) } else { None };
        self.shared.line.note_lengths(&places);
        drop(places);
        drop(left);
        if let Some(waker) = next {
            waker.wake();
        }
    }
}
