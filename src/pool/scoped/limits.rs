//! The limits that apply to one request with a key: those of the key and of its group, and those of both
//! in the request's scope.

use std::sync::Arc;
use std::time::Duration;

use super::table::ScopedLimit;
use crate::pool::clock::LazyNow;
use crate::pool::pooled_key::PooledKey;
use crate::pool::scope::Scope;
use crate::pool::state::{
    Availability, KeyState, Limit, LimitConfig, Permit, StateValue, Taken, Terms,
};

/// The limits of a key and of its group in one scope, as far as there are any.
#[derive(Clone, Default)]
pub(in crate::pool) struct ScopedLimits([Option<Arc<ScopedLimit>>; 2]);

/// The limits of a key in one scope when a handle to the key was created, and their states.
pub(in crate::pool) struct SeenInScope(pub(super) [Option<(Arc<ScopedLimit>, StateValue)>; 2]);

/// What an attempt holds of the limits in its scope.
pub(in crate::pool) type ScopedPermits = [Option<(Arc<ScopedLimit>, Permit)>; 2];

/// A key with the limits that apply to one request.
pub(in crate::pool) struct LimitsOfKey<'a> {
    key: &'a PooledKey,
    scoped: ScopedLimits,
}

impl SeenInScope {
    /// Whether none of the limits was marked.
    pub(in crate::pool) fn has_no_mark(&self) -> bool {
        let Self(limits) = self;
        limits.iter().flatten().all(|(_, seen)| seen.is_unmarked())
    }
}

impl ScopedLimits {
    fn iter(&self) -> impl Iterator<Item = &Limit> {
        self.0.iter().flatten().map(|entry| &entry.limit)
    }

    fn availability(&self, config: &LimitConfig, now: &mut LazyNow) -> Availability {
        let each = self.iter().map(|limit| limit.availability(config, now));
        each.max().unwrap_or(Availability::Open)
    }

    /// Whether all limits that are reopening admit an attempt now.
    fn have_room(&self, config: &LimitConfig, now: &mut LazyNow) -> bool {
        self.iter()
            .all(|limit| limit.admits_in(config, now).is_zero())
    }

    /// Whether an attempt that is no probe can start now.
    pub(in crate::pool) fn admit(&self, config: &LimitConfig) -> bool {
        let now = &mut LazyNow::default();
        self.availability(config, now) < Availability::ProbeDue && self.have_room(config, now)
    }

    /// Takes what an attempt needs to use the limits. `None` if one of them is closed or its allowance
    /// is used up.
    pub(in crate::pool) fn take(
        &self,
        config: &LimitConfig,
        terms: Terms,
        now: &mut LazyNow,
    ) -> Option<ScopedPermits> {
        let mut permits = ScopedPermits::default();
        for (entry, permit) in self.0.iter().zip(&mut permits) {
            let Some(entry) = entry else { continue };
            match entry.limit.take(config, terms, now) {
                Taken::Permit(taken) => *permit = Some((Arc::clone(entry), taken)),
                Taken::Open => {}
                Taken::Refused => {
                    for (entry, permit) in permits.into_iter().flatten() {
                        entry.limit.give_back(permit, config);
                    }
                    return None;
                }
            }
        }
        Some(permits)
    }
}

impl PooledKey {
    /// The limits in a scope.
    #[inline]
    pub(in crate::pool) fn in_scope(&self, scope: Option<&Scope>) -> ScopedLimits {
        let Some(scope) = scope else {
            return ScopedLimits::default();
        };
        let group = self.group.as_deref();
        ScopedLimits([
            self.core.scopes.find(scope),
            group.and_then(|group| group.scopes.find(scope)),
        ])
    }

    /// The limits in a scope, with their current states. `None` if there are none.
    #[inline]
    pub(in crate::pool) fn seen_in(&self, scope: &Scope) -> Option<SeenInScope> {
        let ScopedLimits(limits) = self.in_scope(Some(scope));
        limits.iter().any(Option::is_some).then(|| {
            SeenInScope(limits.map(|entry| {
                let entry = entry?;
                let value = entry.limit.value();
                Some((entry, value))
            }))
        })
    }

    /// The limits that apply to requests with this scope.
    #[inline]
    pub(in crate::pool) fn limits_for(&self, scope: Option<&Scope>) -> LimitsOfKey<'_> {
        LimitsOfKey {
            key: self,
            scoped: self.in_scope(scope),
        }
    }
}

impl LimitsOfKey<'_> {
    /// The worst availability of all limits.
    pub(in crate::pool) fn availability(&self, now: &mut LazyNow) -> Availability {
        let config = self.key.limit_config();
        let of_key = self.key.availability(now);
        match (of_key, self.scoped.availability(config, now)) {
            // A key that does not work must not use up the probe of a scope of its group.
            (Availability::ProbeDue, Availability::ProbeDue)
                if self.key.core.limit.is_permanent() =>
            {
                Availability::Closed
            }
            (of_key, scoped) => of_key.max(scoped),
        }
    }

    /// Whether the limits besides the key's own are open or reopening.
    pub(in crate::pool) fn are_others_usable(&self, now: &mut LazyNow) -> bool {
        let config = self.key.limit_config();
        let group = self.key.group.as_deref().map(|group| &group.limit);
        let mut others = group.into_iter().chain(self.scoped.iter());
        others.all(|limit| limit.availability(config, now) < Availability::ProbeDue)
    }

    /// Whether all limits that are reopening admit an attempt now.
    pub(in crate::pool) fn has_room(&self, now: &mut LazyNow) -> bool {
        let config = self.key.limit_config();
        self.key.has_room(now) && self.scoped.have_room(config, now)
    }

    /// The worst state of all limits.
    pub(in crate::pool) fn state(&self, now: &mut LazyNow) -> KeyState {
        let config = self.key.limit_config();
        let scoped = self.scoped.iter().map(|limit| limit.state(config, now));
        let scoped = scoped.max().unwrap_or(KeyState::Valid);
        self.key.state(now).max(scoped)
    }

    /// How long until all limits have reopened or are due for a probe. `None` if that never happens or
    /// has already happened.
    pub(in crate::pool) fn due_in(&self, now: &mut LazyNow) -> Option<Duration> {
        let config = self.key.limit_config();
        let mut limits = self.key.limits().chain(self.scoped.iter());
        let due_in = limits.try_fold(Duration::ZERO, |latest, limit| {
            Some(latest.max(limit.due_in(config, now)?))
        });
        due_in.filter(|due_in| !due_in.is_zero())
    }
}
