//! How long to wait between probes: a minute by default, and twice as long after each refusal for the
//! same reason, up to an hour. Each interval varies by up to half, so that probes do not coincide with
//! periodic requests.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
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
    /// The state of the random numbers.
    pub(in crate::pool) random: AtomicU64,
}

impl ProbeRules {
    const MAX: Duration = Duration::from_secs(60 * 60);
    /// If no key is usable.
    const POOL_MIN: Duration = Duration::from_secs(1);
    const POOL_MAX: Duration = Duration::from_secs(5);

    pub(in crate::pool) fn new(after: Option<Duration>) -> Self {
        Self {
            after,
            probes_cooldowns: false,
            jitter: true,
            random: AtomicU64::new(RandomState::new().hash_one(())),
        }
    }

    /// The interval before the next probe of a key, after `refused` refusals for the same reason.
    pub(super) fn interval(&self, refused: u32) -> Option<Duration> {
        let after = self.after?;
        let interval = doubled(after, refused).min(after.max(Self::MAX));
        Some(self.vary(interval))
    }

    /// The interval before the next probe of a pool without a usable key, after `refused` refusals.
    pub(super) fn pool_interval(&self, refused: u32) -> Option<Duration> {
        let first = self.after?.min(Self::POOL_MIN);
        Some(self.vary(doubled(first, refused).min(Self::POOL_MAX)))
    }

    /// Between half and one and a half times `interval`.
    fn vary(&self, interval: Duration) -> Duration {
        if !self.jitter {
            return interval;
        }
        // In 1,024ths, between 512 and 1,536.
        let factor = 512 + (self.next_random() & 1023) as u32;
        interval / 1024 * factor
    }

    /// SplitMix64.
    fn next_random(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

        let mut value = self.random.fetch_add(STEP, Ordering::Relaxed);
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }
}
