//! A probe: one request's attempt to find out whether a key works again, or has really reopened.

use std::sync::Arc;
use std::time::Duration;

use super::clock::LazyNow;
use super::key::Key;
use super::pooled_key::{Permits, PooledKey};
use super::reason::{Cause, Reason};
use super::scope::Scope;
use super::scoped::ScopedPermits;
use super::state::{Limit, LimitConfig, Marked, Permit, ProbeKind, ProbeToken, Taken, Terms};

/// What an attempt holds of a key that is not fully open: the right to probe it, or a place among the
/// attempts that a reopening limit admits. Dropping it without a result gives it back. If a probe is
/// kept for more than five seconds, other requests can probe the key as well.
pub(crate) struct Probe {
    key: Key,
    /// Permits of the key's own limit and of its group's.
    permits: Permits,
    /// The scope of the request.
    scope: Option<Scope>,
    /// The same in that scope.
    scoped: ScopedPermits,
    /// The probe of the pool, if no key was usable, and how many probes of the pool were refused before.
    pool: Option<(ProbeToken, u32)>,
    /// Whether it probes or probed the pool.
    is_of_pool: bool,
}

impl Probe {
    /// Probes a key that is due, or uses one that is reopening. Returns `None` if another request is
    /// probing it or its allowance is used up.
    pub(super) fn take(
        key: &Arc<PooledKey>,
        scope: Option<&Scope>,
        terms: Terms,
        now: &mut LazyNow,
    ) -> Option<Box<Self>> {
        Self::take_limits(key, scope, terms, terms, now)
    }

    /// Takes a permit of the key's own limit, and of the other limits that apply to the scope.
    fn take_limits(
        key: &Arc<PooledKey>,
        scope: Option<&Scope>,
        own: Terms,
        others: Terms,
        now: &mut LazyNow,
    ) -> Option<Box<Self>> {
        let config = key.limit_config();
        // Before the permits: a success does not end a mark that is made in between.
        let handle = Key::new(key, 0).for_scope(scope);
        let scoped = key.in_scope(scope).take(config, others, now)?;
        let Some(permits) = take_permits(key, own, others, now) else {
            give_back(scoped, config);
            return None;
        };
        // Boxed, because it is rare and every request would carry the space for it.
        Some(Box::new(Self {
            key: handle,
            permits,
            scope: scope.cloned(),
            scoped,
            pool: None,
            is_of_pool: false,
        }))
    }

    /// Probes the pool with a permanently marked key, whether that key is due or not. `None` if
    /// another request is probing the pool or the key, or if another limit of the key is closed.
    pub(super) fn take_pool(
        key: &Arc<PooledKey>,
        scope: Option<&Scope>,
        now: &mut LazyNow,
    ) -> Option<Box<Self>> {
        let config = key.limit_config();
        let plan = config.pool_probes.plan();
        if !config.is_due(plan, now) {
            return None;
        }
        let token = config.pool_probes.take(plan, config.probe_expires(now))?;
        let probe = Self::take_limits(key, scope, Terms::Probe, Terms::Usable, now);
        match probe {
            Some(mut probe) => {
                probe.pool = Some((token, plan.doublings));
                probe.is_of_pool = true;
                Some(probe)
            }
            None => {
                config.pool_probes.finish(token, plan.doublings, plan.due);
                None
            }
        }
    }

    /// Whether the key is unusable or suspected. A request probes at most one such key.
    pub(crate) fn is_of_doubtful_key(&self) -> bool {
        let scoped = self.scoped.iter().flatten().map(|(_, permit)| permit);
        let mut permits = self.permits.iter().flatten().chain(scoped);
        permits.any(|permit| matches!(permit, Permit::Probe(_)))
    }

    /// Whether the key is permanently marked.
    pub(crate) fn is_of_permanent_mark(&self) -> bool {
        let mut permits = self.permits.iter().flatten();
        permits.any(
            |permit| matches!(permit, Permit::Probe(probe) if probe.kind == ProbeKind::Permanent),
        )
    }

    /// Ends with a success of the attempt. The key returns to service, unless it was marked again in
    /// the meantime.
    pub(crate) fn succeeded(mut self) {
        self.succeed();
    }

    /// Ends the probe of a permanently marked key with a rate limit. The key works, so it returns to
    /// service and cools down. Also returns how long the cooldown is.
    pub(crate) fn rate_limited(
        mut self,
        wait: Option<Duration>,
        in_scope: bool,
        cause: Cause,
    ) -> (Marked, Duration) {
        // If somebody else returned the key, the rate limit is older than that.
        let is_current = self.key.is_current();
        self.succeed();
        if is_current {
            self.key.renew(self.scope.as_ref());
        }
        let scope = self.scope.as_ref().filter(|_| in_scope);
        self.key.cool_down_in(scope, wait, cause)
    }

    /// Ends with a response that proves nothing. The key is probed again after the same interval.
    pub(crate) fn inconclusive(mut self) {
        self.settle(|config, limit, permit| limit.end(permit, config, None));
        self.finish_pool(0);
    }

    /// Ends with a refusal. If the reason is the same as before, the interval doubles.
    pub(crate) fn refused(mut self, reason: Reason) {
        self.settle(|config, limit, permit| limit.end(permit, config, Some(reason)));
        self.finish_pool(1);
    }

    fn succeed(&mut self) {
        let (permits, scoped) = (
            std::mem::take(&mut self.permits),
            std::mem::take(&mut self.scoped),
        );
        self.key.succeed_with(permits, self.scope.as_ref(), scoped);
        self.finish_pool(0);
    }

    fn settle(&mut self, mut each: impl FnMut(&LimitConfig, &Limit, Permit)) {
        let key = self.key.pooled();
        for (permit, limit) in self.permits.iter_mut().zip(key.limits()) {
            if let Some(permit) = permit.take() {
                each(key.limit_config(), limit, permit);
            }
        }
        for (entry, permit) in std::mem::take(&mut self.scoped).into_iter().flatten() {
            each(key.limit_config(), &entry.limit, permit);
        }
    }

    fn finish_pool(&mut self, doublings: u32) {
        if let Some((token, before)) = self.pool.take() {
            let config = self.key.pooled().limit_config();
            let refused = before + doublings;
            let due = config.next_pool_probe(refused, &mut LazyNow::default());
            config.pool_probes.finish(token, refused, due);
        }
    }
}

/// Takes permits of the key's own limit and of its group's. `None` if one of them refuses.
fn take_permits(
    key: &PooledKey,
    own: Terms,
    of_group: Terms,
    now: &mut LazyNow,
) -> Option<Permits> {
    let config = key.limit_config();
    let mut take = |limit: &Limit, terms| match limit.take(config, terms, now) {
        Taken::Permit(permit) => Some(Some(permit)),
        Taken::Open => Some(None),
        Taken::Refused => None,
    };
    let group = key.group.as_deref().map(|group| &group.limit);
    let group_permit = group.map_or(Some(None), |group| take(group, of_group))?;
    let Some(own_permit) = take(&key.core.limit, own) else {
        // Nobody is woken: the waiters include the caller, and nothing has changed.
        if let Some((group, permit)) = group.zip(group_permit) {
            group.give_back(permit, config);
        }
        return None;
    };
    Some([own_permit, group_permit])
}

fn give_back(permits: ScopedPermits, config: &LimitConfig) {
    for (entry, permit) in permits.into_iter().flatten() {
        entry.limit.give_back(permit, config);
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.settle(|config, limit, permit| limit.give_back(permit, config));
        let key = self.key.pooled();
        if let Some((token, refused)) = self.pool.take() {
            // The next request can probe at once.
            let config = key.limit_config();
            config.pool_probes.finish(token, refused, 1);
        }
        // A waiter may be able to use or probe the key now, or to probe the pool.
        match self.is_of_pool {
            true => key.shared.queue.wake(),
            false => key.shared.queue.wake_for(key),
        }
    }
}
