//! How often a key is used.
//!
//! The counters are stored apart from the key's state. Requests read the state far more often than they
//! count, and each write would slow down those reads.

use std::time::Duration;

use crate::pool::clock::{Clock, LazyNow};
use crate::pool::picked_by::PickedBy;
use crate::pool::reason::Reason;
use crate::sync::atomic::{AtomicU64, Ordering};

// On a cache line of its own.
#[repr(align(64))]
pub(in crate::pool) struct UsageCounters {
    picked: [AtomicU64; PickedBy::ALL.len()],
    served: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
    /// Milliseconds since the pool's epoch, plus one. 0 means never.
    last_used: AtomicU64,
}

impl UsageCounters {
    pub(in crate::pool) fn new() -> Self {
        Self {
            picked: std::array::from_fn(|_| AtomicU64::new(0)),
            served: AtomicU64::new(0),
            refused: std::array::from_fn(|_| AtomicU64::new(0)),
            last_used: AtomicU64::new(0),
        }
    }

    pub(in crate::pool) fn picked(&self, by: PickedBy) {
        self.picked[by as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::pool) fn served(&self, clock: Clock) {
        self.served.fetch_add(1, Ordering::Relaxed);
        self.used(clock);
    }

    pub(in crate::pool) fn refused(&self, clock: Clock, reason: Reason) {
        self.refused[reason.index()].fetch_add(1, Ordering::Relaxed);
        self.used(clock);
    }

    fn used(&self, clock: Clock) {
        let now = LazyNow::default().millis(clock);
        self.last_used.fetch_max(now + 1, Ordering::Relaxed);
    }

    pub(in crate::pool) fn read(&self, clock: Clock, now: &mut LazyNow) -> KeyUsage {
        let used = self.last_used.load(Ordering::Relaxed).checked_sub(1);
        let picked = PickedBy::ALL.into_iter().zip(&self.picked);
        let refused = Reason::ALL.into_iter();
        KeyUsage {
            picked: occurred(picked),
            served: self.served.load(Ordering::Relaxed),
            refused: occurred(refused.map(|reason| (reason, &self.refused[reason.index()]))),
            last_used: used
                .map(|used| Duration::from_millis(now.millis(clock).saturating_sub(used))),
        }
    }
}

/// The counters that are not 0.
fn occurred<'a, T>(counters: impl Iterator<Item = (T, &'a AtomicU64)>) -> Vec<(T, u64)> {
    let counters = counters.map(|(what, counter)| (what, counter.load(Ordering::Relaxed)));
    counters.filter(|(_, times)| *times > 0).collect()
}

/// How often a key was used since its pool was built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyUsage {
    /// The number of attempts with this key, for each reason why it was picked. Attempts that are neither
    /// served nor refused are under way, have failed without a response, or were dropped.
    pub picked: Vec<(PickedBy, u64)>,
    /// The number of responses to attempts with this key that callers received.
    pub served: u64,
    /// The number of responses that refused the key, for each reason that occurred.
    pub refused: Vec<(Reason, u64)>,
    /// The time since the last response to an attempt with this key, if there was one.
    pub last_used: Option<Duration>,
}
