//! How long things take, and how often they happen.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// A server that does not answer for so long is unavailable.
    pub(crate) answers_within: Duration,
    /// The shortest time between two polls. The longest is two thirds longer.
    pub(crate) poll_after: Duration,
    /// The time before the first attempt to connect again. Later ones take twice as long each.
    pub(crate) first_retry: Duration,
    pub(crate) last_retry: Duration,
    /// After a gap in the messages, replicas pull within this time.
    pub(crate) gap_within: Duration,
    /// After the server has lost its data, replicas restore it within this time.
    pub(crate) restore_within: Duration,
    /// The time between two batches.
    pub(crate) batch_every: Duration,
}

impl Timing {
    pub(crate) const DEFAULT: Self = Self {
        answers_within: Duration::from_secs(2),
        poll_after: Duration::from_secs(3),
        first_retry: Duration::from_millis(100),
        last_retry: Duration::from_secs(5),
        gap_within: Duration::from_millis(250),
        restore_within: Duration::from_secs(1),
        batch_every: Duration::from_millis(20),
    };

    /// Makes everything but batches faster, for tests.
    pub(crate) fn divided_by(self, divisor: u32) -> Self {
        Self {
            answers_within: self.answers_within / divisor,
            poll_after: self.poll_after / divisor,
            first_retry: self.first_retry / divisor,
            last_retry: self.last_retry / divisor,
            gap_within: self.gap_within / divisor,
            restore_within: self.restore_within / divisor,
            batch_every: self.batch_every,
        }
    }

    pub(crate) fn poll_interval(&self) -> Duration {
        self.poll_after + part_of(self.poll_after * 2 / 3)
    }
}

/// Half to one and a half times as long, so that replicas do not act at the same time.
pub(crate) fn jittered(time: Duration) -> Duration {
    time / 2 + part_of(time)
}

/// A random part of `time`.
pub(crate) fn part_of(time: Duration) -> Duration {
    time.mul_f64((random_bits() >> 11) as f64 / (1_u64 << 53) as f64)
}

/// Unpredictable enough for jitter and for telling data sets apart.
pub(crate) fn random_bits() -> u64 {
    RandomState::new().hash_one(())
}
