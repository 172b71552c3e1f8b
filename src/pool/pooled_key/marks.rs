//! Marks of a key. They go to the limits under which the key was handed out.

use std::time::Duration;

use super::{PooledKey, Seen};
use crate::pool::clock::LazyNow;
use crate::pool::observe::PoolEvent;
use crate::pool::reason::{Cause, Reason};
use crate::pool::scope::Scope;
use crate::pool::state::{KeyState, Limit, Marked, Suspicion};

impl PooledKey {
    /// Lets the key and its group cool down. Also returns for how long.
    pub(in crate::pool) fn cool_down(
        &self,
        seen: Seen,
        hint: Option<Duration>,
        cause: Cause,
    ) -> (Marked, Duration) {
        let (config, now) = (self.limit_config(), &mut LazyNow::default());
        let hint = hint.filter(|wait| !wait.is_zero());
        let lengths = self.limits().map(|limit| limit.cooldown(config, hint, now));
        let wait = lengths.max().unwrap_or_default();
        if !seen.is_current(self) {
            return (Marked::Unchanged, wait);
        }
        let mark = |limit: &Limit, seen, now: &mut LazyNow| {
            limit.cool_down(config, seen, wait, hint.is_none(), cause, now)
        };
        let own = mark(&self.core.limit, seen.own, now);
        let group = self.group.as_deref();
        let group = group.map(|group| mark(&group.limit, seen.group, now));
        // The event describes the group, whatever the mark means for this key.
        let state = KeyState::Temporary { retry_after: wait };
        self.after_mark(group.unwrap_or(own), None, state, cause);
        (least(own, group.unwrap_or(own)), wait)
    }

    pub(in crate::pool) fn suspect(&self, seen: Seen, cause: Cause) -> Suspicion {
        if self.is_outdated() {
            return Suspicion::VOID;
        }
        let config = self.limit_config();
        let suspicion = self.core.limit.suspect(config, seen.own, cause);
        if suspicion.count > 0 {
            self.shared.on_event(|| PoolEvent::Suspected {
                key: self.name(),
                suspicions: suspicion.count,
                reason: cause.reason,
                status: cause.status,
            });
        }
        suspicion
    }

    pub(in crate::pool) fn convict(
        &self,
        seen: Seen,
        suspicion: Suspicion,
        cause: Cause,
    ) -> Marked {
        if self.is_outdated() {
            return Marked::Unchanged;
        }
        let config = self.limit_config();
        let limit = &self.core.limit;
        let marked = limit.convict(config, seen.own, suspicion, cause);
        self.after_mark(marked, None, KeyState::Permanent, cause);
        marked
    }

    pub(in crate::pool) fn mark_permanently(&self, seen: Seen, cause: Cause) -> Marked {
        if self.is_outdated() {
            return Marked::Unchanged;
        }
        let config = self.limit_config();
        let marked = self.core.limit.mark_permanently(config, seen.own, cause);
        self.after_mark(marked, None, KeyState::Permanent, cause);
        marked
    }

    pub(in crate::pool) fn disable(&self) -> Marked {
        let marked = self.core.limit.disable();
        self.core.limit.record_operator_act();
        self.shared.changes.notify();
        self.emit_mark(
            marked,
            None,
            KeyState::Permanent,
            Cause::of(Reason::Operator),
        );
        marked
    }

    /// Reports a mark, and wakes waiters, because there may be no key left to wait for.
    pub(in crate::pool) fn after_mark(
        &self,
        marked: Marked,
        scope: Option<&Scope>,
        state: KeyState,
        cause: Cause,
    ) {
        self.emit_mark(marked, scope, state, cause);
        if marked != Marked::Unchanged {
            self.shared.queue.wake_for(self);
        }
    }

    pub(super) fn emit_mark(
        &self,
        marked: Marked,
        scope: Option<&Scope>,
        state: KeyState,
        cause: Cause,
    ) {
        if marked != Marked::Unchanged {
            self.shared.changes.notify();
            self.shared.on_event(|| PoolEvent::Marked {
                key: self.name(),
                scope: scope.cloned(),
                state,
                marked,
                reason: cause.reason,
                status: cause.status,
            });
        }
    }
}

/// What a mark of two limits means for a key that is usable only if both are open.
pub(in crate::pool) fn least(one: Marked, other: Marked) -> Marked {
    match (one, other) {
        (Marked::Unchanged, _) | (_, Marked::Unchanged) => Marked::Unchanged,
        (Marked::Extended, _) | (_, Marked::Extended) => Marked::Extended,
        (Marked::Transitioned, Marked::Transitioned) => Marked::Transitioned,
    }
}
