//! Marks and successes in one scope.

use std::sync::Arc;
use std::time::Duration;

use super::limits::{ScopedPermits, SeenInScope};
use super::table::{Purpose, Scopes};
use crate::pool::clock::LazyNow;
use crate::pool::observe::ScopeSnapshot;
use crate::pool::pooled_key::{PooledKey, Seen, least};
use crate::pool::reason::Cause;
use crate::pool::scope::Scope;
use crate::pool::state::{KeyState, Marked, StateValue};

impl PooledKey {
    /// The tables of the key and of its group.
    fn scopes(&self) -> impl Iterator<Item = &Scopes> {
        let group = self.group.as_deref().map(|group| &group.scopes);
        std::iter::once(&self.core.scopes).chain(group)
    }

    /// Lets the key and its group cool down in a scope. If another scope was rate-limited just before,
    /// the limit is that of the whole key, for the shorter of the two waits. Also returns for how long
    /// the scope cools down.
    pub(in crate::pool) fn cool_down_in(
        &self,
        scope: &Scope,
        seen: Seen,
        hint: Option<Duration>,
        cause: Cause,
    ) -> (Marked, Duration) {
        let (config, now) = (self.limit_config(), &mut LazyNow::default());
        let hint = hint.filter(|wait| !wait.is_zero());
        let lengths = self.scopes().map(|scopes| match scopes.find(scope) {
            Some(entry) => entry.limit.cooldown(config, hint, now),
            None => config.cooldown.first(hint),
        });
        let wait = lengths.max().unwrap_or_default();
        if !seen.is_current(self) {
            return (Marked::Unchanged, wait);
        }
        let (mut marked, mut wait_of_key) = (Marked::Transitioned, None);
        for scopes in self.scopes() {
            let purpose = Purpose::RateLimit(wait);
            let of_table = scopes.change(scope, purpose, config, now, |entry, now| {
                let limit = &entry.limit;
                limit.cool_down(config, limit.value(), wait, hint.is_none(), cause, now)
            });
            let of_table = of_table.unwrap_or(Marked::Unchanged);
            marked = least(marked, of_table);
            // A late refusal is no second limit if the scope cools down already.
            if of_table != Marked::Unchanged {
                let shared = scopes.limit_of_key(scope, wait, config, now);
                wait_of_key = wait_of_key.into_iter().chain(shared).min();
            }
        }
        let state = KeyState::Temporary { retry_after: wait };
        self.after_mark(marked, Some(scope), state, cause);
        if wait_of_key.is_some() {
            self.cool_down(seen, wait_of_key, cause);
        }
        (marked, wait)
    }

    /// Whether a scope of the key or its group was ever marked.
    pub(in crate::pool) fn has_scopes(&self) -> bool {
        self.scopes().any(|scopes| !scopes.is_unused())
    }

    /// Records that a request succeeded in a scope.
    pub(in crate::pool) fn succeed_in(
        &self,
        scope: &Scope,
        seen: Option<&SeenInScope>,
        mut permits: ScopedPermits,
    ) {
        let config = self.limit_config();
        for (at, scopes) in self.scopes().enumerate() {
            // The entry may have been made after the request got the key.
            let Some(entry) = scopes.find(scope) else {
                continue;
            };
            let seen = seen.and_then(|SeenInScope(limits)| limits[at].as_ref());
            let seen = seen.filter(|(other, _)| Arc::ptr_eq(other, &entry));
            let seen = seen.map_or(StateValue::ZERO, |(_, seen)| *seen);
            let permit = permits[at].take_if(|(other, _)| Arc::ptr_eq(other, &entry));
            let permit = permit.map(|(_, permit)| permit);
            let until = entry.rate_limited_until();
            let succeeded = entry.limit.succeed(config, seen, permit);
            if succeeded.was_closed {
                entry.end_rate_limit(until);
            }
            scopes.tidy(&entry);
            if succeeded.was_closed {
                self.shared.queue.wake_for(self);
            }
        }
    }

    /// The scopes in which the key or its group is marked.
    pub(in crate::pool) fn marked_scopes(&self, now: &mut LazyNow) -> Vec<ScopeSnapshot> {
        let config = self.limit_config();
        let mut marked: Vec<ScopeSnapshot> = Vec::new();
        for entry in self.scopes().flat_map(Scopes::all) {
            let state = entry.limit.state(config, now);
            let known = marked.iter_mut().find(|known| known.scope == entry.scope);
            match known {
                _ if state == KeyState::Valid => {}
                Some(known) if known.state >= state => {}
                Some(known) => (known.state, known.reason) = (state, entry.limit.reason()),
                None => marked.push(ScopeSnapshot {
                    scope: entry.scope.clone(),
                    state,
                    reason: entry.limit.reason(),
                }),
            }
        }
        marked.sort_by(|one, other| one.scope.cmp(&other.scope));
        marked
    }

    /// Removes all marks of scopes. Returns whether there was one.
    pub(in crate::pool) fn clear_scopes(&self) -> bool {
        let config = self.limit_config();
        self.scopes().fold(false, |was_closed, scopes| {
            scopes.clear(config) | was_closed
        })
    }
}
