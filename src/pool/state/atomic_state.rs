//! The atomic state of one limit: `generation (24 bits) | deadline (40 bits)`.
//!
//! The deadline is in milliseconds since the pool's epoch. 0 means valid and all ones means
//! permanently marked. Within a generation the value only grows, so concurrent writers need no lock
//! and no order: a mark is a `fetch_max`, and a return to service starts the next generation. The
//! largest value of all belongs to a removed key, and nothing exceeds it.

use crate::sync::atomic::{AtomicU64, Ordering};

const DEADLINE_BITS: u32 = 40;
const DEADLINE_MASK: u64 = (1 << DEADLINE_BITS) - 1;
const MAX_GENERATION: u32 = (1 << (u64::BITS - DEADLINE_BITS)) - 1;

/// One value of an [`AtomicState`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::pool) struct StateValue(u64);

impl StateValue {
    /// The latest deadline of a cooldown: 34 years after the pool's epoch.
    pub(in crate::pool) const LATEST: u64 = DEADLINE_MASK - 1;

    const PERMANENT: u64 = DEADLINE_MASK;

    /// The value of a key that is no longer in its pool.
    pub(in crate::pool) const REMOVED: Self = Self(u64::MAX);

    /// A cooldown until `millis` after the epoch. Later deadlines are cut to [`LATEST`](Self::LATEST).
    pub(in crate::pool) fn cooling_down(generation: u32, millis: u64) -> Self {
        Self::pack(generation, millis.clamp(1, Self::LATEST))
    }

    pub(in crate::pool) fn permanent(generation: u32) -> Self {
        Self::pack(generation, Self::PERMANENT)
    }

    fn pack(generation: u32, deadline: u64) -> Self {
        debug_assert!(generation <= MAX_GENERATION && deadline <= DEADLINE_MASK);
        Self((u64::from(generation) << DEADLINE_BITS) | deadline)
    }

    pub(in crate::pool) fn generation(self) -> u32 {
        (self.0 >> DEADLINE_BITS) as u32
    }

    /// The last generation belongs to removed keys.
    fn next_generation(self) -> Option<u32> {
        Some(self.generation() + 1).filter(|next| *next < MAX_GENERATION)
    }

    #[inline]
    pub(in crate::pool) fn deadline(self) -> Deadline {
        match self.0 & DEADLINE_MASK {
            0 => Deadline::None,
            Self::PERMANENT => Deadline::Never,
            millis => Deadline::At(millis),
        }
    }
}

/// When a limit opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pool) enum Deadline {
    /// It is open.
    None,
    /// Milliseconds since the pool's epoch.
    At(u64),
    /// It is permanently marked.
    Never,
}

// Nothing else is published through this value, so relaxed operations are enough.
pub(in crate::pool) struct AtomicState(AtomicU64);

impl AtomicState {
    pub(in crate::pool) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    #[inline]
    pub(in crate::pool) fn load(&self) -> StateValue {
        StateValue(self.0.load(Ordering::Relaxed))
    }

    /// Raises the state to `value` and returns the previous one. The later deadline wins, and a mark
    /// of an older generation has no effect.
    pub(in crate::pool) fn mark(&self, value: StateValue) -> StateValue {
        StateValue(self.0.fetch_max(value.0, Ordering::Relaxed))
    }

    /// Opens the limit if its state is still `seen`. The next generation begins, so that late marks of
    /// attempts that started earlier have no effect.
    ///
    /// Returns whether it did. A limit that has used up its generations (16 million returns) stays as
    /// it is.
    pub(in crate::pool) fn reinstate(&self, seen: StateValue) -> bool {
        seen.next_generation()
            .is_some_and(|next| self.replace(seen, StateValue::pack(next, 0)))
    }

    /// Marks the limit permanently in the next generation, where no mark or return that started
    /// earlier can reach it. Returns the previous state. A removed key stays removed.
    pub(in crate::pool) fn disable(&self) -> StateValue {
        loop {
            let seen = self.load();
            let generation = seen.next_generation().unwrap_or(seen.generation());
            let value = StateValue::permanent(generation);
            if value <= seen || self.replace(seen, value) {
                return seen;
            }
        }
    }

    /// Marks the key as removed. No later operation changes that.
    pub(in crate::pool) fn remove(&self) {
        self.mark(StateValue::REMOVED);
    }

    fn replace(&self, seen: StateValue, by: StateValue) -> bool {
        self.0
            .compare_exchange(seen.0, by.0, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}
