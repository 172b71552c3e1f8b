//! What observers learn of a key.

use std::sync::Arc;

use super::PooledKey;
use crate::pool::clock::LazyNow;
use crate::pool::observe::{KeyName, KeySnapshot};
use crate::pool::picked_by::PickedBy;
use crate::pool::reason::Reason;
use crate::pool::state::Limit;

impl PooledKey {
    /// Records that an attempt starts.
    #[inline]
    pub(in crate::pool) fn record_picked(&self, by: PickedBy) {
        if let Some(usage) = &self.core.usage {
            usage.picked(by);
        }
    }

    /// Records a response that goes to the caller.
    #[inline]
    pub(in crate::pool) fn record_served(&self) {
        if let Some(usage) = &self.core.usage {
            usage.served(self.limit_config().clock);
        }
    }

    pub(in crate::pool) fn record_refused(&self, reason: Reason) {
        if let Some(usage) = &self.core.usage {
            usage.refused(self.limit_config().clock, reason);
        }
    }

    pub(in crate::pool) fn name(&self) -> KeyName {
        KeyName {
            label: self.settings.label.clone(),
            hint: self.secret.hint().into(),
            group: self.group.as_ref().map(|group| Arc::clone(&group.name)),
        }
    }

    pub(in crate::pool) fn snapshot(&self, now: &mut LazyNow) -> KeySnapshot {
        let config = self.limit_config();
        let marked = self.limits().filter(|limit| limit.reason().is_some());
        let last = marked.reduce(|own, group| {
            if group.state(config, now) > own.state(config, now) {
                group
            } else {
                own
            }
        });
        let usage = self.core.usage.as_ref();
        KeySnapshot {
            label: self.settings.label.clone(),
            hint: self.secret.hint().into(),
            group: self.group.as_ref().map(|group| Arc::clone(&group.name)),
            state: self.state(now),
            suspicions: self.suspicions(),
            reason: last.and_then(Limit::reason),
            in_flight: self.in_flight(),
            scopes: self.marked_scopes(now),
            usage: usage.map(|usage| usage.read(config.clock, now)),
        }
    }
}
