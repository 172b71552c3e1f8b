//! A list of keys, in a copy for each of some threads.
//!
//! Whoever uses a key counts a reference to its slot. Were there one slot for all threads, each
//! would wait for the count to come over from the core that used it last: that is most of what
//! picking a key would cost. What a key *is* all copies share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::list::List;
use super::slot::Slot;

/// As many as a power of two.
pub(super) struct Copies(Box<[Arc<List>]>);

impl Copies {
    const MOST: usize = 8;
    /// In all copies together. A longer list has one copy alone.
    const MOST_SLOTS: usize = 8192;

    pub(super) fn of(list: List) -> Self {
        let copies = (Self::MOST_SLOTS / list.slots.len()).clamp(1, Self::MOST);
        let others: Vec<_> = (1..1 << copies.ilog2())
            .map(|_| Arc::new(copy(&list)))
            .collect();
        Self([Arc::new(list)].into_iter().chain(others).collect())
    }

    /// The copy for this thread.
    #[inline]
    pub(super) fn own(&self) -> &Arc<List> {
        thread_local!(static NUMBER: usize = {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            NEXT.fetch_add(1, Ordering::Relaxed)
        });

        &self.0[NUMBER.with(|number| number & (self.0.len() - 1))]
    }
}

fn copy(list: &List) -> List {
    let slots = list.slots.iter();
    List::of(slots.map(|slot| Arc::new(Slot::clone(slot))).collect())
}
