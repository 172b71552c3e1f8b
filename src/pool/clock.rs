//! The pool's time: milliseconds since it was built.

use std::time::Duration;

use tokio::time::Instant;

#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    epoch: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            epoch: Instant::now(),
        }
    }

    /// `wait` from now, rounded up to whole milliseconds: a key never returns early.
    pub(super) fn deadline(self, now: Instant, wait: Duration) -> u64 {
        ceil_millis(self.since_epoch(now).saturating_add(wait))
    }

    /// Whole milliseconds since the epoch.
    pub(super) fn millis(self, now: Instant) -> u64 {
        u64::try_from(self.since_epoch(now).as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether `until` has come. At the deadline itself it has.
    #[inline]
    pub(super) fn has_come(self, until: u64, now: &mut LazyNow) -> bool {
        until <= now.millis(self)
    }

    /// How long until `until`, if it is still to come. `now` is rounded as the deadline was, so
    /// that a key marked for three seconds is never said to be out for longer than three.
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
    whole.saturating_add(u64::from(duration.subsec_nanos() % 1_000_000 != 0))
}

/// The present, read when it is first needed and then kept.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LazyNow {
    instant: Option<Instant>,
    /// The same, in whole milliseconds since the epoch: a walk compares it with many deadlines.
    millis: Option<u64>,
}

impl LazyNow {
    pub(super) fn get(&mut self) -> Instant {
        *self.instant.get_or_insert_with(Instant::now)
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
