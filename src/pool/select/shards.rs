//! Copies of the list of keys, one for each of a few threads.
//!
//! A request increments the reference count of its key. If all threads shared one count, moving its
//! cache line between cores would be most of the cost of picking a key. The copies share the keys'
//! state.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::list::KeyList;

/// The number of copies is a power of two.
pub(in crate::pool) struct Shards(Box<[Arc<KeyList>]>);

impl Shards {
    const MAX_COPIES: usize = 8;
    /// The number of keys in all copies together. Above it, there is a single copy.
    const MAX_KEYS: usize = 8192;

    pub(in crate::pool) fn of(list: KeyList) -> Self {
        let copies = (Self::MAX_KEYS / list.keys.len()).clamp(1, Self::MAX_COPIES);
        let copies = 1 << copies.ilog2();
        // Threads that take turns do not all begin with the same key.
        let start = |shard| f64::from(shard) / f64::from(copies);
        let others: Vec<_> = (1..copies)
            .map(|shard| Arc::new(list.duplicate(start(shard))))
            .collect();
        Self([Arc::new(list)].into_iter().chain(others).collect())
    }

    /// The copy for the current thread.
    #[inline]
    pub(in crate::pool) fn own(&self) -> &Arc<KeyList> {
        thread_local!(static NUMBER: usize = {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            NEXT.fetch_add(1, Ordering::Relaxed)
        });

        &self.0[NUMBER.with(|number| number & (self.0.len() - 1))]
    }
}
