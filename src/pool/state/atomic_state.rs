//! The atomic state of one limit: `generation (24 bits) | deadline (40 bits)`.
//!
//! The deadline is in milliseconds since the pool's epoch. 0 means valid, 1 means valid but suspected,
//! and the two largest values mean permanently marked and disabled. A mark is a `fetch_max`, so
//! concurrent marks need no lock and no order. Within a generation the value falls only if a suspicion
//! is cleared or a cooldown ends, and neither undoes a mark that it has not seen. A return from a
//! permanent mark and a reinstatement start the next generation, in which earlier marks have no
//! effect. The largest value of all belongs to a removed key, and nothing exceeds it.

use crate::sync::atomic::{AtomicU64, Ordering};

const DEADLINE_BITS: u32 = 40;
const DEADLINE_MASK: u64 = (1 << DEADLINE_BITS) - 1;
const MAX_GENERATION: u32 = (1 << (u64::BITS - DEADLINE_BITS)) - 1;

/// One value of an [`AtomicState`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::pool) struct StateValue(u64);

impl StateValue {
    /// The latest deadline of a cooldown: 34 years after the pool's epoch.
    pub(in crate::pool) const LATEST: u64 = DEADLINE_MASK - 2;

    const SUSPECTED: u64 = 1;
    const PERMANENT: u64 = DEADLINE_MASK - 1;
    const DISABLED: u64 = DEADLINE_MASK;

    /// The value of a new key.
    pub(in crate::pool) const ZERO: Self = Self(0);

    /// The value of a key that is no longer in its pool.
    pub(in crate::pool) const REMOVED: Self = Self(u64::MAX);

    /// A cooldown until `millis` after the epoch. Later deadlines are cut to [`LATEST`](Self::LATEST).
    pub(in crate::pool) fn cooling_down(generation: u32, millis: u64) -> Self {
        Self::pack(generation, millis.clamp(2, Self::LATEST))
    }

    pub(in crate::pool) fn permanent(generation: u32) -> Self {
        Self::pack(generation, Self::PERMANENT)
    }

    /// The current generation of this value, disabled by an operator.
    fn disabled(self) -> Self {
        Self::pack(self.generation(), Self::DISABLED)
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

    /// Whether the limit is open and not suspected.
    #[inline]
    pub(in crate::pool) fn is_open(self) -> bool {
        self.0 & DEADLINE_MASK == 0
    }

    /// Whether the limit has no mark, and no cooldown that has ended.
    pub(in crate::pool) fn is_unmarked(self) -> bool {
        self.0 & DEADLINE_MASK <= Self::SUSPECTED
    }

    /// `Some(true)` if the limit is open, `Some(false)` if it is permanently marked. `None` if it has a
    /// cooldown, which may have ended.
    #[inline]
    pub(super) fn is_open_or_marked(self) -> Option<bool> {
        let deadline = self.0 & DEADLINE_MASK;
        if deadline >= Self::PERMANENT {
            Some(false)
        } else if deadline <= Self::SUSPECTED {
            Some(true)
        } else {
            None
        }
    }

    #[inline]
    pub(in crate::pool) fn deadline(self) -> Deadline {
        match self.0 & DEADLINE_MASK {
            0 => Deadline::None,
            Self::SUSPECTED => Deadline::Suspected,
            Self::PERMANENT => Deadline::Permanent,
            Self::DISABLED => Deadline::Disabled,
            millis => Deadline::At(millis),
        }
    }
}

/// When a limit opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pool) enum Deadline {
    /// It is open.
    None,
    /// It is open, but suspected: keys that are not suspected come first.
    Suspected,
    /// Milliseconds since the pool's epoch.
    At(u64),
    /// It is permanently marked.
    Permanent,
    /// It is permanently marked by an operator and never probed.
    Disabled,
}

// Marks publish nothing else through this value, so relaxed operations are enough. Suspicions
// synchronize with the limit's trust.
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

    /// Opens the limit in a new generation if its state is still `seen`, so that late marks of attempts
    /// that started earlier have no effect.
    ///
    /// Returns whether it did. A limit that has used up its generations (16 million returns) stays as
    /// it is.
    pub(in crate::pool) fn begin_generation(&self, seen: StateValue) -> bool {
        seen.next_generation()
            .is_some_and(|next| self.replace(seen, StateValue::pack(next, 0)))
    }

    /// Ends a cooldown if the state is still `seen`. Returns whether it did.
    pub(in crate::pool) fn end_cooldown(&self, seen: StateValue) -> bool {
        debug_assert!(matches!(seen.deadline(), Deadline::At(_)));
        self.replace(seen, StateValue::pack(seen.generation(), 0))
    }

    /// Disables the limit in its current generation, where no mark or probe can reach it. Returns the
    /// previous state. A removed key stays removed.
    pub(in crate::pool) fn disable(&self) -> StateValue {
        loop {
            let seen = self.load();
            let value = seen.disabled();
            if value <= seen || self.replace(seen, value) {
                return seen;
            }
        }
    }

    /// Reads the last value in the order of all changes. A plain load may return an earlier one.
    pub(super) fn latest(&self) -> StateValue {
        StateValue(self.0.fetch_max(0, Ordering::SeqCst))
    }

    /// Sets or clears the suspicion of an open limit whose state is still `seen`.
    pub(super) fn set_suspected(&self, seen: StateValue, suspected: bool) {
        let deadline = if suspected { StateValue::SUSPECTED } else { 0 };
        let value = StateValue::pack(seen.generation(), deadline);
        let (success, failure) = (Ordering::SeqCst, Ordering::Relaxed);
        // If it fails, the limit was marked or another thread has done the same.
        let _ = self.0.compare_exchange(seen.0, value.0, success, failure);
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
