use std::fmt;
use std::time::Duration;

use super::Part;
use super::heard::Heard;
use super::state::{LimitMark, LimitOwner, LimitState, LimitedScope};
use crate::pool::clock::LazyNow;
use crate::pool::observe::{PoolEvent, ReturnedBy};
use crate::pool::pooled_key::PooledKey;
use crate::pool::reason::{Cause, Reason};
use crate::pool::scope::Scope;
use crate::pool::scoped::Scopes;
use crate::pool::state::{KeyState, Limit, Marked};

/// One limit of a pool: that of a key, or that of a group.
pub struct PeerLimit<'a> {
    key: &'a PooledKey,
    limit: &'a Limit,
    scopes: &'a Scopes,
    part: Part,
}

impl<'a> PeerLimit<'a> {
    pub(super) fn new(key: &'a PooledKey, part: Part) -> Self {
        let (limit, scopes) = match (part, key.group.as_deref()) {
            (Part::Group, Some(group)) => (&group.limit, &group.scopes),
            _ => (&key.core.limit, &key.core.scopes),
        };
        Self {
            key,
            limit,
            scopes,
            part,
        }
    }

    /// Returns whose limit it is.
    pub fn owner(&self) -> LimitOwner<'_> {
        match (self.part, &self.key.group) {
            (Part::Group, Some(group)) => LimitOwner::Group(&group.name),
            _ => LimitOwner::Key(self.key.secret.expose()),
        }
    }

    /// Returns the current state.
    pub fn state(&self) -> LimitState {
        let config = self.key.limit_config();
        let operator_acts = self.limit.operator_acts();
        let generation = self.limit.value().generation();
        let mark = match self.limit.state(config, &mut LazyNow::default()) {
            KeyState::Valid => LimitMark::Open,
            KeyState::Temporary { retry_after } => LimitMark::CoolingDown {
                remaining: retry_after,
            },
            KeyState::Permanent if self.limit.is_disabled() => LimitMark::Disabled,
            // Nobody needs to hear about a key that this process no longer has.
            KeyState::Permanent if self.limit.is_removed() => LimitMark::Open,
            KeyState::Permanent => LimitMark::Permanent,
        };
        LimitState {
            generation,
            operator_acts,
            mark,
            reason: self.limit.reason(),
        }
    }

    /// Returns the scopes in which a request of this process, or another process, was rate-limited.
    /// Refusals of access are not among them: they concern this process alone.
    pub fn limited_scopes(&self) -> Vec<LimitedScope> {
        let (config, now) = (self.key.limit_config(), &mut LazyNow::default());
        let limited = self.scopes.all().into_iter().filter_map(|entry| {
            Some(LimitedScope {
                remaining: entry.rate_limited_for(config, now)?,
                reason: match entry.limit.reason() {
                    Some(Reason::Quota) => Reason::Quota,
                    _ => Reason::RateLimited,
                },
                scope: entry.scope.clone(),
            })
        });
        limited.collect()
    }

    /// Applies what another process says. `seen` is the generation of the limit that the caller knows:
    /// if it has ended, only what operators do still applies.
    ///
    /// Returns whether anything changed.
    pub fn hear(&self, seen: u32, heard: Heard) -> bool {
        let is_current = self.limit.value().generation() == seen;
        match heard {
            Heard::CoolingDown { remaining, reason } => {
                is_current && self.cool_down(remaining, Cause::of(reason))
            }
            Heard::ScopeCoolingDown {
                scope,
                remaining,
                age,
                reason,
            } => is_current && self.cool_down_in(&scope, remaining, age, Cause::of(reason)),
            Heard::Refused { reason } => {
                let is_usable = self.state().mark != LimitMark::Permanent;
                self.part == Part::Key
                    && is_current
                    && is_usable
                    && self.key.suspect(self.key.seen(), Cause::of(reason)).count > 0
            }
            Heard::Works => is_current && self.limit.probe_now(self.key.limit_config()),
            Heard::Disabled => {
                let marked = self.limit.disable();
                let cause = Cause::of(Reason::Operator);
                self.key
                    .after_mark(marked, None, KeyState::Permanent, cause);
                marked != Marked::Unchanged
            }
            Heard::Reinstated => self.reinstate(),
        }
    }

    fn cool_down(&self, remaining: Duration, cause: Cause) -> bool {
        let (config, now) = (self.key.limit_config(), &mut LazyNow::default());
        let hint = Some(remaining).filter(|remaining| !remaining.is_zero());
        if hint.is_none() {
            return false;
        }
        let wait = self.limit.cooldown(config, hint, now);
        let seen = self.limit.value();
        let marked = self.limit.cool_down(config, seen, wait, false, cause, now);
        let state = KeyState::Temporary { retry_after: wait };
        self.key.after_mark(marked, None, state, cause);
        marked != Marked::Unchanged
    }

    fn cool_down_in(
        &self,
        scope: &Scope,
        remaining: Duration,
        age: Duration,
        cause: Cause,
    ) -> bool {
        if remaining.is_zero() {
            return false;
        }
        let (config, now) = (self.key.limit_config(), &mut LazyNow::default());
        let wait = config.cooldown.first(Some(remaining));
        let marked = self.scopes.hear(scope, wait, age, cause, config, now);
        let state = KeyState::Temporary { retry_after: wait };
        self.key.after_mark(marked, Some(scope), state, cause);
        marked != Marked::Unchanged
    }

    fn reinstate(&self) -> bool {
        let mut was_closed = self.limit.reinstate(self.key.limit_config());
        // After the new generation has begun, in which late marks have no effect.
        was_closed |= self.scopes.clear(self.key.limit_config());
        let shared = &self.key.shared;
        shared.changes.notify();
        if was_closed {
            shared.on_event(|| PoolEvent::Returned {
                key: self.key.name(),
                by: ReturnedBy::Peer,
            });
        }
        shared.queue.wake();
        was_closed
    }
}

impl fmt::Debug for PeerLimit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerLimit")
            .field("key", &self.key)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
