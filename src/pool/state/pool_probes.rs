//! Probes of the pool as a whole.

use super::atomic_state::StateValue;
use super::probe_schedule::{Plan, ProbeSchedule, ProbeToken};
use crate::sync::atomic::{AtomicU64, Ordering};

/// When the first key of the pool is due for a probe, and when the pool itself is due because no key is
/// usable.
#[derive(Debug)]
pub(in crate::pool) struct PoolProbes {
    /// Before this time no closed key is due, so that a request does not have to look at them.
    earliest_due: AtomicU64,
    schedule: ProbeSchedule,
}

impl PoolProbes {
    pub(in crate::pool) fn new() -> Self {
        Self {
            earliest_due: AtomicU64::new(u64::MAX),
            schedule: ProbeSchedule::new(),
        }
    }

    /// Milliseconds since the pool's epoch.
    #[inline]
    pub(in crate::pool) fn earliest_due(&self) -> u64 {
        self.earliest_due.load(Ordering::Relaxed)
    }

    /// Begins a sweep: a request looks at all keys. It reports what it finds with
    /// [`is_due_at`](Self::is_due_at).
    pub(in crate::pool) fn begin_sweep(&self) {
        // A plan that is made from now on reports itself. A plan made before is visible to the sweep.
        self.earliest_due.swap(u64::MAX, Ordering::AcqRel);
    }

    /// Records that a key is due at `due`. 0 means never.
    pub(in crate::pool) fn is_due_at(&self, due: u64) {
        if due != 0 {
            self.earliest_due.fetch_min(due, Ordering::AcqRel);
        }
    }

    pub(in crate::pool) fn plan(&self) -> Plan {
        self.schedule.plan(POOL)
    }

    pub(in crate::pool) fn take(&self, plan: Plan, expires: u64) -> Option<ProbeToken> {
        self.schedule.take(POOL, plan, expires)
    }

    pub(in crate::pool) fn finish(&self, token: ProbeToken, doublings: u32, due: u64) {
        self.schedule
            .finish(token, |plan| (plan.doublings, plan.due) = (doublings, due));
    }

    /// Plans a probe of the pool, because a key was marked permanently. It may have been the last usable
    /// one.
    pub(super) fn start(&self, due: u64) {
        // A probe in progress makes the next plan when it ends.
        if self.plan().taken {
            return;
        }
        self.schedule
            .update(POOL, |plan| (plan.doublings, plan.due) = (0, due));
    }
}

/// A pool has no generations.
const POOL: StateValue = StateValue::ZERO;
