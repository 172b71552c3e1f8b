//! Whose turn it is: keys take turns in proportion to their weights.
//!
//! This is the earliest-deadline-first schedule of weighted round robin. Each key has a time at which
//! its next turn comes. The key with the earliest time is used, and its next turn comes one stride
//! later. A stride is inversely proportional to the key's weight. A key that was unusable does not catch
//! up on missed turns, because no turn comes earlier than the latest one.
//!
//! Each shard of the list has its own turns, so threads do not share them. Concurrent requests on one
//! shard can take the same turn. That is harmless, because the next turns follow from the result.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::pool::key_settings::KeySettings;

/// The stride of a key with this weight.
pub(super) fn stride(weight: u32) -> u32 {
    /// Large enough for the greatest weight to be exact to 0.1 %. The times wrap around only after
    /// 2^44 turns.
    const LONGEST: u32 = 1 << 20;
    LONGEST / weight.clamp(1, KeySettings::MAX_WEIGHT)
}

// Aligned, so that a shard shares no cache line with another one.
#[repr(align(64))]
pub(super) struct Turns {
    /// Where a search starts: after the key that was used last.
    start: AtomicUsize,
    /// The time of the latest turn.
    now: AtomicU64,
    /// The time of each key's next turn.
    next: Box<[AtomicU64]>,
}

impl Turns {
    /// The turns of keys with these strides. The one at `start` comes first.
    pub(super) fn new(strides: &[u32], start: usize) -> Self {
        let len = strides.len();
        let are_equal = strides.iter().all(|stride| *stride == strides[0]);
        let first = |(at, stride): (usize, &u32)| {
            // Spread over the first stride, so that light keys do not all follow one another. Equal
            // keys take turns from the start on, which lets a search end early.
            let place = ((at + len - start) % len) as u64;
            let offset = u64::from(*stride) * place / len as u64;
            AtomicU64::new(if are_equal { 0 } else { offset })
        };
        Self {
            start: AtomicUsize::new(start),
            now: AtomicU64::new(0),
            next: strides.iter().enumerate().map(first).collect(),
        }
    }

    pub(super) fn start(&self) -> usize {
        self.start.load(Ordering::Relaxed)
    }

    /// How long it takes until the key at `at` has its turn. Zero is the earliest possible.
    #[inline]
    pub(super) fn until(&self, at: usize) -> u64 {
        let now = self.now.load(Ordering::Relaxed);
        let until = self.next[at].load(Ordering::Relaxed).wrapping_sub(now);
        // A time in the past, as seen from a time that wraps around.
        if until > u64::MAX / 2 { 0 } else { until }
    }

    /// The key at `at` takes its turn.
    pub(super) fn take(&self, at: usize, stride: u32) {
        let turn = self
            .now
            .load(Ordering::Relaxed)
            .wrapping_add(self.until(at));
        self.now.store(turn, Ordering::Relaxed);
        let next = turn.wrapping_add(u64::from(stride));
        self.next[at].store(next, Ordering::Relaxed);
        let start = if at + 1 == self.next.len() { 0 } else { at + 1 };
        self.start.store(start, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests {
    use std::sync::atomic::Ordering;

    use proptest::prelude::*;

    use super::{Turns, stride};

    struct Keys {
        turns: Turns,
        strides: Vec<u32>,
    }

    impl Keys {
        fn new(weights: &[u32], start: usize) -> Self {
            let strides: Vec<_> = weights.iter().map(|weight| stride(*weight)).collect();
            Self {
                turns: Turns::new(&strides, start),
                strides,
            }
        }

        /// Takes the next turn among the usable keys.
        fn next(&self, usable: impl Fn(usize) -> bool) -> usize {
            let len = self.strides.len();
            let at = (0..len)
                .map(|step| (self.turns.start() + step) % len)
                .filter(|at| usable(*at))
                .min_by_key(|at| self.turns.until(*at))
                .unwrap();
            self.turns.take(at, self.strides[at]);
            at
        }

        fn sequence(&self, len: usize) -> Vec<usize> {
            (0..len).map(|_| self.next(|_| true)).collect()
        }
    }

    #[test]
    fn keys_with_equal_weights_take_turns_in_order() {
        assert_eq!(Keys::new(&[7, 7, 7], 1).sequence(7), [1, 2, 0, 1, 2, 0, 1]);
    }

    #[test]
    fn the_turns_of_a_heavy_key_are_spread() {
        let keys = Keys::new(&[5, 1, 1], 0);
        assert_eq!(keys.sequence(7), [0, 0, 1, 0, 0, 2, 0]);
        assert_eq!(keys.sequence(7), [0, 0, 1, 0, 0, 2, 0]);
    }

    #[test]
    fn a_key_that_returns_does_not_catch_up() {
        let keys = Keys::new(&[1, 1], 0);
        for _ in 0..100 {
            assert_eq!(keys.next(|at| at == 0), 0);
        }
        assert_eq!(keys.sequence(4), [1, 0, 1, 0]);
    }

    #[test]
    fn the_neighbor_of_an_unusable_key_gets_no_more_turns_than_others() {
        let keys = Keys::new(&[1; 5], 0);
        let mut taken = [0; 5];
        for _ in 0..400 {
            taken[keys.next(|at| at != 1)] += 1;
        }
        assert_eq!(taken, [100, 0, 100, 100, 100]);
    }

    #[test]
    fn turns_continue_when_their_times_wrap_around() {
        let keys = Keys::new(&[1, 1], 0);
        let late = u64::MAX - u64::from(stride(1)) / 2;
        for time in keys.turns.next.iter().chain([&keys.turns.now]) {
            time.store(late, Ordering::Relaxed);
        }
        assert_eq!(keys.sequence(6), [0, 1, 0, 1, 0, 1]);
    }

    proptest! {
        #[test]
        fn keys_take_turns_in_proportion_to_their_weights_within_2_percent(
            weights in prop::collection::vec(1_u32..=20, 1..8),
            start: prop::sample::Index,
            down: prop::sample::Index,
        ) {
            let keys = Keys::new(&weights, start.index(weights.len()));
            let down = Some(down.index(weights.len())).filter(|_| weights.len() > 1);
            let usable = |at| Some(at) != down;
            let total: u32 = weights.iter().enumerate().filter(|(at, _)| usable(*at)).map(|(_, weight)| weight).sum();
            let mut taken = vec![0_u32; weights.len()];
            for _ in 0..total * 100 {
                taken[keys.next(usable)] += 1;
            }
            for (at, weight) in weights.iter().enumerate() {
                let expected = if usable(at) { f64::from(weight * 100) } else { 0.0 };
                prop_assert!((f64::from(taken[at]) - expected).abs() <= 0.02 * expected, "{taken:?} of {weights:?}");
            }
        }
    }
}
