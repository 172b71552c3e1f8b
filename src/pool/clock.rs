//! The pool's time: milliseconds since it was built.

use std::time::Duration;

use tokio::time::Instant;

use crate::sync::now;

#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    epoch: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self::since(now())
    }

    pub(super) fn since(epoch: Instant) -> Self {
        Self { epoch }
    }

    /// The end of a `wait` that begins now, rounded up to whole milliseconds so that no key returns
    /// early.
    pub(super) fn deadline(self, now: Instant, wait: Duration) -> u64 {
        ceil_millis(self.since_epoch(now).saturating_add(wait))
    }

    /// Whole milliseconds since the epoch.
    pub(super) fn millis(self, now: Instant) -> u64 {
        u64::try_from(self.since_epoch(now).as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether `until` has been reached.
    #[inline]
    pub(super) fn has_come(self, until: u64, now: &mut LazyNow) -> bool {
        until <= now.millis(self)
    }

    /// The time until `until`, or `None` if it has been reached. `now` is rounded like the deadline, so
    /// a mark of three seconds is never reported as longer than three seconds.
    pub(super) fn remaining(self, until: u64, now: &mut LazyNow) -> Option<Duration> {
        if self.has_come(until, now) {
            return None;
        }
        let millis = until.saturating_sub(ceil_millis(self.since_epoch(now.get())));
        Some(Duration::from_millis(millis.max(1)))
    }

    fn since_epoch(self, now: Instant) -> Duration {
        now.saturating_duration_since(self.epoch)
    }
}

fn ceil_millis(duration: Duration) -> u64 {
    let whole = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    whole.saturating_add(u64::from(
        !duration.subsec_nanos().is_multiple_of(1_000_000),
    ))
}

/// The current time. The clock is read once, when the time is first needed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LazyNow {
    instant: Option<Instant>,
    /// Whole milliseconds since the epoch. A search compares them with many deadlines.
    millis: Option<u64>,
}

impl LazyNow {
    pub(super) fn get(&mut self) -> Instant {
        *self.instant.get_or_insert_with(now)
    }

    #[inline]
    pub(super) fn millis(&mut self, clock: Clock) -> u64 {
        match self.millis {
            Some(millis) => millis,
            None => {
                let millis = clock.millis(self.get());
                *self.millis.insert(millis)
            }
        }
    }
}
