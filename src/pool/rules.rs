//! What a pool is set to.

use std::time::Duration;

use tokio::time::Instant;

use super::clock::{Clock, LazyNow};

#[derive(Debug)]
pub(super) struct Rules {
    pub(super) name: Box<str>,
    pub(super) clock: Clock,
    pub(super) default_cooldown: Duration,
    pub(super) max_cooldown: Duration,
    /// How far the default cooldown may grow.
    pub(super) growth: Option<Duration>,
    pub(super) probe_after: Option<Duration>,
    pub(super) slow_start: Option<Duration>,
    pub(super) track_usage: bool,
    pub(super) max_waiters: usize,
}

impl Rules {
    const MAX_TRIAL_GAP: Duration = Duration::from_secs(24 * 60 * 60);

    /// How long a key is out when the provider named no wait, for the n-th time in a row.
    pub(super) fn cooldown(&self, repeated: u32) -> Duration {
        match self.growth {
            None => self.default_cooldown,
            Some(bound) => doubled(self.default_cooldown, repeated)
                .min(bound)
                .max(self.default_cooldown),
        }
    }

    /// Whether a key that returned at `since` is still to be taken by one request at a time.
    pub(super) fn is_on_slow_start(&self, since: u64, now: &mut LazyNow) -> bool {
        self.slow_start.is_some_and(|slow_start| {
            let over =
                since.saturating_add(u64::try_from(slow_start.as_millis()).unwrap_or(u64::MAX));
            !self.clock.has_come(over, now)
        })
    }

    /// When a key that is out is to be tried next; 0 where it never is.
    pub(super) fn next_trial(&self, now: Instant, doublings: u32) -> u64 {
        self.probe_after.map_or(0, |after| {
            let gap = doubled(after, doublings).min(after.max(Self::MAX_TRIAL_GAP));
            self.clock.deadline(now, gap).max(1)
        })
    }
}

fn doubled(duration: Duration, times: u32) -> Duration {
    let factor = 1_u32.checked_shl(times).unwrap_or(u32::MAX);
    duration.saturating_mul(factor)
}
