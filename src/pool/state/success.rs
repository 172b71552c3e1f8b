//! Successes, and the return to service by an operator.

use super::atomic_state::{Deadline, StateValue};
use super::config::LimitConfig;
use super::limit::{Limit, is_valid};
use super::permit::Permit;
use crate::pool::clock::LazyNow;

/// What a success changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::pool) struct Succeeded {
    /// The limit was suspected.
    pub(in crate::pool) was_suspected: bool,
    /// The limit was closed.
    pub(in crate::pool) was_closed: bool,
}

impl Limit {
    /// Whether a success changes nothing, if the limit was open when the attempt began.
    #[inline]
    pub(in crate::pool) fn is_settled(&self) -> bool {
        self.trust.is_settled()
    }

    /// Records that an attempt succeeded. The limit was in state `seen` when the attempt began. If it
    /// still is, it works, whatever its mark says: it reopens.
    pub(in crate::pool) fn succeed(
        &self,
        config: &LimitConfig,
        seen: StateValue,
        permit: Option<Permit>,
    ) -> Succeeded {
        let now = &mut LazyNow::default();
        let seen = permit.map_or(seen, Permit::seen);
        let was_closed = match seen.deadline() {
            Deadline::Permanent => self.cell.state.begin_generation(seen),
            Deadline::At(end) if config.clock.has_come(end, now) => {
                self.reopen(config, seen, permit, now);
                false
            }
            Deadline::At(_) => self.cell.state.end_cooldown(seen),
            Deadline::None | Deadline::Suspected | Deadline::Disabled => false,
        };
        if let Some(Permit::Probe(probe)) = permit {
            self.probe_succeeded(probe, was_closed, config);
        }
        let was_suspected = if was_closed && seen.deadline() == Deadline::Permanent {
            self.trust.reset(true);
            false
        } else {
            // A late success proves nothing about a cooldown that began after it.
            let state = self.value();
            let is_valid = is_valid(state, config.clock, now);
            let resets_repeated = state.generation() == seen.generation() && is_valid;
            self.trust.succeed(resets_repeated) > 0
        };
        self.show_suspicion();
        Succeeded {
            was_suspected,
            was_closed,
        }
    }

    /// Counts the success as a proof that the cooldown has ended.
    fn reopen(
        &self,
        config: &LimitConfig,
        seen: StateValue,
        permit: Option<Permit>,
        now: &mut LazyNow,
    ) {
        let (state, clock) = (&self.cell.state, config.clock);
        match permit {
            Some(Permit::Admission(admission)) => {
                self.reopening.end(state, admission, true, clock, now)
            }
            Some(Permit::Probe(_)) | None => self.reopening.succeed(state, seen, clock, now),
        };
    }

    /// Opens the limit, whatever its mark, in a new generation. Returns whether it was closed.
    pub(in crate::pool) fn reinstate(&self, config: &LimitConfig) -> bool {
        let mut now = LazyNow::default();
        loop {
            let seen = self.value();
            let was_closed = !is_valid(seen, config.clock, &mut now);
            if self.cell.state.begin_generation(seen) {
                self.trust.reset(!was_closed && self.trust.is_proven());
                self.forget_reason();
                self.show_suspicion();
                return was_closed;
            }
            if self.value() == seen {
                // Its generations are used up, or its key was removed.
                return false;
            }
        }
    }
}
