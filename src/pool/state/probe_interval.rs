//! How long to wait between probes: at first a minute, then twice as long after each refusal, up to
//! an hour. Each interval varies by half, so that probes stay out of step with periodic requests.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::cooldown::doubled;

#[derive(Debug)]
pub(in crate::pool) struct ProbeRules {
    /// The first interval. `None` turns probes off.
    pub(in crate::pool) after: Option<Duration>,
    /// Whether keys that cool down for longer are probed as well.
    pub(in crate::pool) probes_cooldowns: bool,
    /// Whether intervals vary.
    pub(in crate::pool) jitter: bool,
}

impl ProbeRules {
    const MAX: Duration = Duration::from_secs(60 * 60);
    /// If no key is usable.
    const POOL_MIN: Duration = Duration::from_secs(1);
    const POOL_MAX: Duration = Duration::from_secs(5);

    /// The interval before the next probe of a key that refused so many probes.
    pub(super) fn interval(&self, refused: u32) -> Option<Duration> {
        let after = self.after?;
        let interval = doubled(after, refused).min(after.max(Self::MAX));
        Some(self.vary(interval))
    }

    /// The interval before the next probe of a pool without a usable key.
    pub(super) fn pool_interval(&self, refused: u32) -> Option<Duration> {
        let first = self.after?.min(Self::POOL_MIN);
        Some(self.vary(doubled(first, refused).min(Self::POOL_MAX)))
    }

    /// Between half and one and a half times `interval`.
    fn vary(&self, interval: Duration) -> Duration {
        if !self.jitter {
            return interval;
        }
        let random = RandomState::new().hash_one(()) >> 32;
        let random = random as f64 / f64::from(u32::MAX);
        interval.mul_f64(0.5 + random)
    }
}
