//! A probe: one request's attempt to find out whether a key works again.

use std::sync::Arc;

use super::clock::LazyNow;
use super::observe::{PoolEvent, ReturnedBy};
use super::pooled_key::PooledKey;
use super::state::{Limit, LimitConfig, LimitProbe, Taken};

/// The right to probe a key. Dropping it without a result lets the next request probe.
pub(crate) struct Probe {
    key: Arc<PooledKey>,
    /// Probes of the key's own limit and of its group's.
    limits: [Option<LimitProbe>; 2],
}

impl Probe {
    /// Returns `None` if another request is probing the key.
    pub(super) fn take(key: &Arc<PooledKey>, now: &mut LazyNow) -> Option<Box<Self>> {
        // Checked first: taking one of two limits and giving it back would wake waiters, and the
        // waiter may be the caller itself.
        let config = key.limit_config();
        if !key.limits().all(|limit| limit.is_available(config, now)) {
            return None;
        }
        // Boxed, because it is rare and every request would carry the space for it.
        let mut probe = Box::new(Self {
            key: Arc::clone(key),
            limits: [None; 2],
        });
        // Dropping the probe gives the first limit back if the second cannot be taken.
        for (taken, limit) in probe.limits.iter_mut().zip(key.limits()) {
            *taken = match limit.take_probe(config, now) {
                Taken::Probe(probe) => Some(probe),
                Taken::Open => None,
                Taken::Refused => return None,
            };
        }
        Some(probe)
    }

    /// Ends the probe with a response that goes to the caller. A success returns the key to service,
    /// unless it was marked again in the meantime. Any other response proves nothing: the key is
    /// probed again after the same interval.
    pub(crate) fn forwarded(mut self, is_success: bool) {
        if !is_success {
            self.settle(|config, limit, probe| limit.probe_failed(probe, config, 0));
            return;
        }
        let mut returned = false;
        self.settle(|_, limit, probe| returned |= limit.probe_succeeded(probe));
        if returned {
            self.key.shared.on_event(|| PoolEvent::Returned {
                key: self.key.name(),
                by: ReturnedBy::Probe,
            });
        }
    }

    /// Ends the probe with a refusal that marked the key. The interval doubles.
    pub(crate) fn refused(mut self) {
        self.settle(|config, limit, probe| limit.probe_failed(probe, config, 1));
    }

    fn settle(&mut self, mut each: impl FnMut(&LimitConfig, &Limit, LimitProbe)) {
        for (probe, limit) in self.limits.iter_mut().zip(self.key.limits()) {
            if let Some(probe) = probe.take() {
                each(self.key.limit_config(), limit, probe);
            }
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.settle(|_, limit, probe| limit.probe_dropped(probe));
        // A waiter may be able to use or probe the key now.
        self.key.shared.queue.wake();
    }
}
