//! How much a key is used. Kept apart from its state, which is read far more often than this is
//! written.

use std::time::Duration;

use super::clock::{Clock, LazyNow};
use super::reason::Reason;
use crate::sync::atomic::{AtomicU64, Ordering};

/// On a cache line of its own.
#[repr(align(64))]
pub(super) struct Usage {
    served: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
    /// Milliseconds since the pool's epoch, and one; 0 is never.
    last_used: AtomicU64,
}

impl Usage {
    pub(super) fn new() -> Self {
        Self {
            served: AtomicU64::new(0),
            refused: std::array::from_fn(|_| AtomicU64::new(0)),
            last_used: AtomicU64::new(0),
        }
    }

    pub(super) fn served(&self, clock: Clock) {
        self.served.fetch_add(1, Ordering::Relaxed);
        self.used(clock);
    }

    pub(super) fn refused(&self, clock: Clock, reason: Reason) {
        self.refused[reason.index()].fetch_add(1, Ordering::Relaxed);
        self.used(clock);
    }

    fn used(&self, clock: Clock) {
        let now = LazyNow::default().millis(clock);
        self.last_used.fetch_max(now + 1, Ordering::Relaxed);
    }

    pub(super) fn read(&self, clock: Clock, now: &mut LazyNow) -> KeyUsage {
        let used = self.last_used.load(Ordering::Relaxed).checked_sub(1);
        KeyUsage {
            served: self.served.load(Ordering::Relaxed),
            refused: Reason::ALL
                .into_iter()
                .map(|reason| {
                    let times = self.refused[reason.index()].load(Ordering::Relaxed);
                    (reason, times)
                })
                .filter(|(_, times)| *times > 0)
                .collect(),
            last_used: used
                .map(|used| Duration::from_millis(now.millis(clock).saturating_sub(used))),
        }
    }
}

/// How much a key was used since its pool was built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyUsage {
    /// How many answers made with it went to a caller.
    pub served: u64,
    /// How many answers refused it, for each reason that there was.
    pub refused: Vec<(Reason, u64)>,
    /// How long ago it was last answered, if it ever was.
    pub last_used: Option<Duration>,
}
