//! Successes with a key, and its return to service by an operator.

use super::{Group, Permits, PooledKey, Seen};
use crate::pool::observe::{PoolEvent, ReturnedBy};
use crate::pool::state::Limit;

impl PooledKey {
    /// Records that a request succeeded with the key.
    #[inline]
    pub(in crate::pool) fn succeed(&self, seen: Seen) {
        let is_settled = seen.own.is_open() && self.core.limit.is_settled();
        if !is_settled || self.group.is_some() {
            self.succeed_with(seen, [None; 2]);
        }
    }

    /// Records that a request succeeded with the key, of whose limits it holds `permits`.
    #[cold]
    pub(in crate::pool) fn succeed_with(&self, seen: Seen, permits: Permits) {
        let config = self.limit_config();
        let [permit, group_permit] = permits;
        let own = self.core.limit.succeed(config, seen.own, permit);
        let mut was_closed = own.was_closed;
        if let Some(Group { limit, .. }) = self.group.as_deref()
            && !(seen.group.is_open() && limit.is_settled())
        {
            was_closed |= limit.succeed(config, seen.group, group_permit).was_closed;
        }
        if was_closed {
            self.shared.changes.notify();
            self.shared.on_event(|| PoolEvent::Returned {
                key: self.name(),
                by: ReturnedBy::Probe,
            });
            self.shared.queue.wake_for(self);
        }
        if own.was_suspected {
            self.shared
                .on_event(|| PoolEvent::Trusted { key: self.name() });
        }
    }

    /// Returns whether the key or its group was closed.
    pub(in crate::pool) fn reinstate(&self) -> bool {
        let mut was_closed = false;
        for limit in self.limits() {
            was_closed |= limit.reinstate(self.limit_config());
        }
        // After the new generation has begun, in which late marks have no effect.
        was_closed |= self.clear_scopes();
        // Who notices the act reads no mark from before it.
        self.limits().for_each(Limit::record_operator_act);
        self.shared.changes.notify();
        was_closed
    }
}
