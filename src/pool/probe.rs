//! A probe: one request's attempt to find out whether a key works again.

use std::sync::Arc;
use std::time::Duration;

use super::clock::LazyNow;
use super::observe::{PoolEvent, ReturnedBy};
use super::pooled_key::PooledKey;
use super::reason::{Cause, Reason};
use super::state::{Limit, LimitConfig, LimitProbe, ProbeKind, ProbeToken, Taken};

/// The right to probe a key. Dropping it without a result lets the next request probe. If it is kept
/// for more than five seconds, other requests can probe the key as well.
pub(crate) struct Probe {
    key: Arc<PooledKey>,
    /// Probes of the key's own limit and of its group's.
    limits: [Option<LimitProbe>; 2],
    /// The probe of the pool, if no key was usable, and how many probes of the pool were refused before.
    pool: Option<(ProbeToken, u32)>,
}

impl Probe {
    /// Probes a key that is due, or has just reopened. Returns `None` if another request is probing
    /// it.
    pub(super) fn take(key: &Arc<PooledKey>, now: &mut LazyNow) -> Option<Box<Self>> {
        let config = key.limit_config();
        // Checked first: if only one of two limits could be taken, dropping the probe would wake
        // waiters, and the caller may be one of them.
        let is_free = |limit: &Limit| limit.is_open() || !limit.is_taken(config, now);
        if !key.limits().all(is_free) {
            return None;
        }
        Self::take_limits(key, false, now)
    }

    /// Probes the pool with a permanently marked key, whether that key is due or not. `None` if
    /// another request is probing the pool or the key.
    pub(super) fn take_pool(key: &Arc<PooledKey>, now: &mut LazyNow) -> Option<Box<Self>> {
        let config = key.limit_config();
        let plan = config.pool_probes.plan();
        if !config.is_due(plan, now) {
            return None;
        }
        let token = config.pool_probes.take(plan, config.probe_expires(now))?;
        let probe = Self::take_limits(key, true, now);
        match probe {
            Some(mut probe) => {
                probe.pool = Some((token, plan.doublings));
                Some(probe)
            }
            None => {
                config.pool_probes.finish(token, plan.doublings, plan.due);
                None
            }
        }
    }

    fn take_limits(key: &Arc<PooledKey>, forced: bool, now: &mut LazyNow) -> Option<Box<Self>> {
        let config = key.limit_config();
        // Boxed, because it is rare and every request would carry the space for it.
        let mut probe = Box::new(Self {
            key: Arc::clone(key),
            limits: [None; 2],
            pool: None,
        });
        // If the second limit cannot be taken, dropping the probe releases the first.
        for (taken, limit) in probe.limits.iter_mut().zip(key.limits()) {
            *taken = match limit.take_probe(config, forced, now) {
                Taken::Probe(probe) => Some(probe),
                Taken::Open => None,
                Taken::Refused => return None,
            };
        }
        Some(probe)
    }

    /// Whether the key was unusable or suspected. A request probes at most one such key.
    pub(crate) fn is_of_doubtful_key(&self) -> bool {
        let mut probes = self.limits.iter().flatten();
        probes.any(|probe| probe.kind != ProbeKind::Reopened)
    }

    /// Whether the key was permanently marked.
    pub(crate) fn is_of_permanent_mark(&self) -> bool {
        let mut probes = self.limits.iter().flatten();
        probes.any(|probe| probe.kind == ProbeKind::Permanent)
    }

    /// Ends the probe with a success. The key returns to service, unless it was marked again in the
    /// meantime.
    pub(crate) fn succeeded(mut self) {
        self.return_key();
    }

    /// Ends the probe of a permanently marked key with a rate limit. The key works, so it returns to
    /// service and cools down.
    pub(crate) fn rate_limited(mut self, wait: Option<Duration>, cause: Cause) {
        self.return_key();
        let key = &self.key;
        key.cool_down(key.generations(), wait, cause);
    }

    /// Ends the probe with a response that proves nothing. The key is probed again after the same
    /// interval.
    pub(crate) fn inconclusive(mut self) {
        self.settle(|config, limit, probe| limit.probe_failed(probe, config, None));
        self.finish_pool(0);
    }

    /// Ends the probe with a refusal. If the reason is the same as before, the interval doubles.
    pub(crate) fn refused(mut self, reason: Reason) {
        self.settle(|config, limit, probe| limit.probe_failed(probe, config, Some(reason)));
        self.finish_pool(1);
    }

    fn return_key(&mut self) {
        let mut returned = false;
        self.settle(|config, limit, probe| returned |= limit.probe_succeeded(probe, config));
        self.finish_pool(0);
        if returned {
            self.key.shared.on_event(|| PoolEvent::Returned {
                key: self.key.name(),
                by: ReturnedBy::Probe,
            });
        }
    }

    fn settle(&mut self, mut each: impl FnMut(&LimitConfig, &Limit, LimitProbe)) {
        for (probe, limit) in self.limits.iter_mut().zip(self.key.limits()) {
            if let Some(probe) = probe.take() {
                each(self.key.limit_config(), limit, probe);
            }
        }
    }

    fn finish_pool(&mut self, doublings: u32) {
        if let Some((token, before)) = self.pool.take() {
            let config = self.key.limit_config();
            let refused = before + doublings;
            let due = config.next_pool_probe(refused, &mut LazyNow::default());
            config.pool_probes.finish(token, refused, due);
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.settle(|config, limit, probe| limit.probe_dropped(probe, config));
        if let Some((token, refused)) = self.pool.take() {
            // The next request can probe at once.
            let config = self.key.limit_config();
            config.pool_probes.finish(token, refused, 1);
        }
        // A waiter may be able to use or probe the key now.
        self.key.shared.queue.wake();
    }
}
