//! Selects the key that a request probes.
//!
//! A request probes the first key that is due, before it uses the key that it would pick otherwise. If
//! the probe is refused, the request continues with that other key.

use super::pick::Selector;
use crate::pool::clock::LazyNow;
use crate::pool::pooled_key::PooledKey;
use crate::pool::probe::Probe;
use crate::pool::state::{Availability, LimitConfig, Terms, is_valid};

/// Looks for keys to probe while a request looks for a key to use.
pub(super) struct ProbeSearch {
    /// Whether closed keys are looked at, because one of them may be due.
    sweeps: bool,
    /// The earliest time at which a key is due that the search skipped.
    soonest: u64,
    is_allowed: bool,
    /// The first closed key that is due.
    closed: Option<usize>,
    /// The first suspected key that is due.
    suspected: Option<usize>,
}

impl ProbeSearch {
    /// When to look at keys that a search did not reach, in milliseconds after that search.
    const RECHECK: u64 = 1000;

    pub(super) fn begin(config: &LimitConfig, is_allowed: bool, now: &mut LazyNow) -> Self {
        let is_allowed = is_allowed && config.probes.after.is_some();
        let earliest = config.pool_probes.earliest_due();
        let sweeps = is_allowed && earliest != u64::MAX && config.clock.has_come(earliest, now);
        if sweeps {
            config.pool_probes.begin_sweep();
        }
        Self {
            sweeps,
            soonest: u64::MAX,
            is_allowed,
            closed: None,
            suspected: None,
        }
    }

    /// Whether the search looks at closed keys that are due. If so, it lowers the time to the earliest
    /// one at which a key is due that it skips.
    #[inline]
    pub(super) fn sweep(&mut self) -> Option<&mut u64> {
        // It needs only one.
        let sweeps = self.sweeps && self.closed.is_none();
        sweeps.then_some(&mut self.soonest)
    }

    /// The search passes a closed key.
    pub(super) fn pass_closed(&mut self, at: usize, key: &PooledKey, can_probe: bool) {
        if self.sweeps {
            key.limit_config().pool_probes.is_due_at(key.probe_due_at());
        }
        // No sweep looks for scopes that are due. A search passes all keys that are closed for its scope.
        if self.is_allowed && can_probe {
            self.closed = self.closed.or(Some(at));
        }
    }

    /// The search passes a suspected key.
    pub(super) fn pass_suspected(&mut self, at: usize, key: &PooledKey, now: &mut LazyNow) {
        let limit = &key.core.limit;
        if self.is_allowed
            && self.suspected.is_none()
            && limit.is_suspect_due(key.limit_config(), now)
        {
            self.suspected = Some(at);
        }
    }

    /// Ends the search. `is_early` means that it did not reach the end of the list.
    pub(super) fn end(&self, config: &LimitConfig, is_early: bool, now: &mut LazyNow) {
        if !self.sweeps {
            return;
        }
        let now = now.millis(config.clock);
        // The keys after the one that this request probes may be due as well.
        let unseen = match self.closed {
            Some(_) => now,
            None if is_early => now + Self::RECHECK,
            None => u64::MAX,
        };
        let soonest = self.soonest.min(unseen);
        if soonest != u64::MAX {
            config.pool_probes.is_due_at(soonest.max(1));
        }
    }

    /// The keys to probe instead of a usable one. Suspected keys are probed only if that one is
    /// `trusted`.
    pub(super) fn candidates(&self, trusted: bool) -> impl Iterator<Item = usize> + use<> {
        let suspected = self.suspected.filter(|_| trusted);
        let (first, second) = match (self.closed, suspected) {
            (Some(closed), Some(suspected)) if suspected < closed => {
                (Some(suspected), Some(closed))
            }
            (closed, suspected) => (closed, suspected),
        };
        first.into_iter().chain(second)
    }
}

/// Probes a closed key for a request that has no alternative: none of the keys that it may use is
/// usable.
pub(super) fn probe_without_alternative<F: Fn(&PooledKey) -> bool>(
    selector: &mut Selector<'_, F>,
) -> Option<(usize, Box<Probe>)> {
    let (choice, scope) = (selector.request.choice, selector.scope());
    let Selector {
        list, config, now, ..
    } = selector;
    let tried = &selector.tried;
    if config.probes.after.is_none() || selector.request.has_probed {
        return None;
    }
    let is_pool_due = config.is_due(config.pool_probes.plan(), now);
    let earliest = config.pool_probes.earliest_due();
    // No sweep looks for scopes that are due.
    let is_any_due =
        config.clock.has_come(earliest, now) || scope.is_some() && config.probes.probes_cooldowns;
    if !is_pool_due && !is_any_due {
        return None;
    }
    let mut is_any_usable = false;
    for key in &list.keys {
        let is_usable = is_valid(key.core.limit.value(), config.clock, now)
            && key.limits_for(scope).availability(now) < Availability::ProbeDue;
        if is_usable && choice.is_none_or(|choice| choice.allows(key)) {
            return None;
        }
        is_any_usable |= is_usable;
    }
    let probes_pool = |key: &PooledKey| !is_any_usable && key.core.limit.is_permanent();
    // Keys with the fewest failed probes come first, because one may have been marked by mistake.
    let mut candidates: Vec<_> = list.keys.iter().enumerate().collect();
    candidates.retain(|(_, key)| {
        let limits = key.limits_for(scope);
        !tried(key)
            && !key.is_at_cap()
            && match probes_pool(key) {
                true => is_pool_due && limits.are_others_usable(now),
                false => limits.availability(now) == Availability::ProbeDue,
            }
    });
    candidates.sort_by_key(|(at, key)| (key.core.limit.failed_probes(), *at));
    candidates.into_iter().find_map(|(at, key)| {
        let probe = match probes_pool(key) {
            true => Probe::take_pool(key, scope, now),
            false => Probe::take(key, scope, Terms::ProbeIfDue, now),
        };
        Some((at, probe?))
    })
}
