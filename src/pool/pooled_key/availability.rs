//! Whether a key can be used: what its own limit and its group's allow.

use super::PooledKey;
use crate::pool::clock::LazyNow;
use crate::pool::in_flight::Capacities;
use crate::pool::key::KeyCheck;
use crate::pool::scope::Scope;
use crate::pool::state::{Availability, KeyState};

impl PooledKey {
    /// The worse of its own availability and its group's.
    pub(in crate::pool) fn availability(&self, now: &mut LazyNow) -> Availability {
        let config = self.limit_config();
        let own = self.core.limit.availability(config, now);
        let Some(group) = &self.group else {
            return own;
        };
        match (own, group.limit.availability(config, now)) {
            // A key that does not work must not use up its group's probe.
            (Availability::ProbeDue, Availability::ProbeDue) if self.core.limit.is_permanent() => {
                Availability::Closed
            }
            (own, group) => own.max(group),
        }
    }

    #[cold]
    pub(in crate::pool) fn check(&self, scope: Option<&Scope>) -> KeyCheck {
        let own = &self.core.limit;
        if own.is_removed() || own.is_disabled() {
            return KeyCheck::Withdrawn;
        }
        match self.limits_for(scope).availability(&mut LazyNow::default()) {
            Availability::Open | Availability::Reopening => KeyCheck::Usable,
            Availability::ProbeDue | Availability::Closed => KeyCheck::Marked,
        }
    }

    /// Whether all limits that are reopening admit an attempt now.
    pub(in crate::pool) fn has_room(&self, now: &mut LazyNow) -> bool {
        let config = self.limit_config();
        let mut limits = self.limits();
        limits.all(|limit| limit.admits_in(config, now).is_zero())
    }

    /// Whether the key or its group has as many requests in flight as it may.
    pub(in crate::pool) fn is_at_cap(&self) -> bool {
        self.capacities.as_deref().is_some_and(Capacities::is_full)
    }

    /// Whether the key or its group has a cap.
    pub(in crate::pool) fn is_capped(&self) -> bool {
        self.capacities
            .as_deref()
            .is_some_and(Capacities::is_capped)
    }

    /// How many requests are in flight with the key, if they are counted.
    #[inline]
    pub(in crate::pool) fn in_flight(&self) -> Option<u32> {
        let own = self.capacities.as_deref()?.own.as_ref()?;
        Some(own.counter.count())
    }

    /// How often the key was refused without proof since its last success.
    pub(in crate::pool) fn suspicions(&self) -> u32 {
        self.core.limit.suspicions()
    }

    /// When the key or its group is due for a probe, in milliseconds since the pool's epoch. 0 means
    /// never.
    pub(in crate::pool) fn probe_due_at(&self) -> u64 {
        let config = self.limit_config();
        let due = self.limits().map(|limit| limit.probe_due_at(config));
        due.max().unwrap_or_default()
    }

    /// The worse of its own state and its group's.
    pub(in crate::pool) fn state(&self, now: &mut LazyNow) -> KeyState {
        self.limits()
            .map(|limit| limit.state(self.limit_config(), now))
            .max()
            .unwrap_or(KeyState::Valid)
    }
}
