//! The configuration that all limits of a pool share.

use std::time::Duration;

use super::cooldown::CooldownRules;
use super::pool_probes::PoolProbes;
use super::probe_interval::ProbeRules;
use super::probe_schedule::Plan;
use crate::pool::clock::{Clock, LazyNow};

#[derive(Debug)]
pub(in crate::pool) struct LimitConfig {
    pub(in crate::pool) clock: Clock,
    pub(in crate::pool) cooldown: CooldownRules,
    pub(in crate::pool) probes: ProbeRules,
    pub(in crate::pool) pool_probes: PoolProbes,
}

impl LimitConfig {
    /// A probe without a result blocks others for this long.
    const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

    /// When a key is probed next, after `refused` refusals for the same reason. 0 means never.
    pub(super) fn next_probe(&self, refused: u32, now: &mut LazyNow) -> u64 {
        self.after(self.probes.interval(refused), now)
    }

    /// When a pool without a usable key is probed next, after `refused` refusals. 0 means never.
    pub(in crate::pool) fn next_pool_probe(&self, refused: u32, now: &mut LazyNow) -> u64 {
        self.after(self.probes.pool_interval(refused), now)
    }

    fn after(&self, interval: Option<Duration>, now: &mut LazyNow) -> u64 {
        interval.map_or(0, |interval| {
            self.clock.deadline(now.get(), interval).max(1)
        })
    }

    /// When a probe that is taken now expires.
    pub(in crate::pool) fn probe_expires(&self, now: &mut LazyNow) -> u64 {
        self.clock.deadline(now.get(), Self::PROBE_TIMEOUT)
    }

    /// How long until a pool without a usable key is probed. `None` if never, or if that is now.
    pub(in crate::pool) fn pool_probe_in(&self, now: &mut LazyNow) -> Option<Duration> {
        let due = Some(self.pool_probes.plan().due).filter(|due| *due != 0)?;
        self.probes.after?;
        self.clock.remaining(due, now)
    }

    pub(in crate::pool) fn is_due(&self, plan: Plan, now: &mut LazyNow) -> bool {
        plan.due != 0 && self.clock.has_come(plan.due, now)
    }
}
