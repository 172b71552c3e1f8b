//! One key's state in one word: `generation (24 bits) | until (40 bits)`.
//!
//! `until` is in milliseconds since the pool's epoch: 0 is valid, all ones is out for good.
//! Everything only ever grows, so that concurrent writers need no lock and no order:
//! marking is `fetch_max` within a generation, and a return to service begins the next one. All ones
//! throughout is a key that was removed: nothing is above it.

use crate::sync::atomic::{AtomicU64, Ordering};

const UNTIL_BITS: u32 = 40;
const UNTIL_MASK: u64 = (1 << UNTIL_BITS) - 1;
const MAX_GENERATION: u32 = (1 << (u64::BITS - UNTIL_BITS)) - 1;

/// A value of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp(u64);

impl Stamp {
    /// The latest deadline that is not "for good": 34 years after the pool's epoch.
    pub(super) const LATEST: u64 = UNTIL_MASK - 1;

    const FOR_GOOD: u64 = UNTIL_MASK;

    /// That of a key that is no longer in its pool.
    pub(super) const REMOVED: Self = Self(u64::MAX);

    /// Out until `millis` after the epoch, or until the latest deadline where that is later.
    pub(super) fn temporary(generation: u32, millis: u64) -> Self {
        Self::pack(generation, millis.clamp(1, Self::LATEST))
    }

    pub(super) fn permanent(generation: u32) -> Self {
        Self::pack(generation, Self::FOR_GOOD)
    }

    fn pack(generation: u32, until: u64) -> Self {
        debug_assert!(generation <= MAX_GENERATION && until <= UNTIL_MASK);
        Self((u64::from(generation) << UNTIL_BITS) | until)
    }

    pub(super) fn generation(self) -> u32 {
        (self.0 >> UNTIL_BITS) as u32
    }

    /// The last generation is that of removed keys.
    fn next_generation(self) -> Option<u32> {
        Some(self.generation() + 1).filter(|next| *next < MAX_GENERATION)
    }

    /// When the key may be used again.
    #[inline]
    pub(super) fn until(self) -> Until {
        match self.0 & UNTIL_MASK {
            0 => Until::Now,
            Self::FOR_GOOD => Until::Never,
            millis => Until::Millis(millis),
        }
    }
}

/// When a key may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    Now,
    /// Milliseconds since the pool's epoch.
    Millis(u64),
    Never,
}

// The word is all there is to know about a key's state: nothing else is published through it, so
// that relaxed operations say everything.
pub(super) struct Word(AtomicU64);

impl Word {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    #[inline]
    pub(super) fn load(&self) -> Stamp {
        Stamp(self.0.load(Ordering::Relaxed))
    }

    /// Raises the word to `stamp` and returns what stood there. Where that is as high already,
    /// nothing changes: the later deadline wins, and a mark of an older generation loses.
    pub(super) fn raise(&self, stamp: Stamp) -> Stamp {
        Stamp(self.0.fetch_max(stamp.0, Ordering::Relaxed))
    }

    /// Returns the key to service, unless the word has moved on from `seen`. Upward too, into the
    /// next generation, so that a late mark of an attempt that began before loses.
    ///
    /// A key that has used up its generations (16 million returns) stays as it is.
    pub(super) fn reinstate(&self, seen: Stamp) -> bool {
        seen.next_generation()
            .is_some_and(|next| self.replace(seen, Stamp::pack(next, 0)))
    }

    /// Puts the key out for good in the next generation, where neither a mark nor a return that
    /// began before can reach it. Returns what stood there; a key that was removed stays so.
    pub(super) fn disable(&self) -> Stamp {
        loop {
            let seen = self.load();
            let generation = seen.next_generation().unwrap_or(seen.generation());
            let stamp = Stamp::permanent(generation);
            if stamp <= seen || self.replace(seen, stamp) {
                return seen;
            }
        }
    }

    fn replace(&self, seen: Stamp, by: Stamp) -> bool {
        self.0
            .compare_exchange(seen.0, by.0, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}
