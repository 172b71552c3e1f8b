//! How long a limit cools down. `max_cooldown` caps every wait, whatever the provider says.

use std::time::Duration;

#[derive(Debug)]
pub(in crate::pool) struct CooldownRules {
    /// Used if the provider names no wait.
    pub(in crate::pool) default: Duration,
    pub(in crate::pool) max: Duration,
    /// The bound up to which the default doubles with each refusal.
    pub(in crate::pool) exponential: Option<Duration>,
}

impl CooldownRules {
    /// The length of a cooldown: the wait that the provider named (`hint`), or the default after
    /// `repeated` earlier cooldowns of unknown length. It is never longer than the maximum.
    pub(super) fn length(
        &self,
        hint: Option<Duration>,
        repeated: impl FnOnce() -> u32,
    ) -> Duration {
        hint.unwrap_or_else(|| self.without_hint(repeated()))
            .min(self.max)
    }

    /// The length of a first cooldown.
    pub(in crate::pool) fn first(&self, hint: Option<Duration>) -> Duration {
        self.length(hint, || 0)
    }

    fn without_hint(&self, repeated: u32) -> Duration {
        match self.exponential {
            None => self.default,
            Some(bound) => doubled(self.default, repeated).min(bound).max(self.default),
        }
    }
}

pub(super) fn doubled(duration: Duration, times: u32) -> Duration {
    let factor = 1_u32.checked_shl(times).unwrap_or(u32::MAX);
    duration.saturating_mul(factor)
}
