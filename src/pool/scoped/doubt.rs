//! A key that is refused access to a scope, such as a model that its account may not use.

use std::sync::Arc;
use std::time::Duration;

use super::table::{Purpose, ScopedLimit};
use crate::pool::clock::LazyNow;
use crate::pool::key::Key;
use crate::pool::reason::Cause;
use crate::pool::scope::Scope;
use crate::pool::state::{KeyState, Marked, Suspicion};

/// How long a key is not used for a scope that it may not use.
const NO_ACCESS: Duration = Duration::from_secs(10 * 60);

/// One request's doubt whether a key may use a scope. Dropping it marks nothing.
pub(crate) struct ScopeDoubt {
    key: Key,
    entry: Arc<ScopedLimit>,
    suspicion: Suspicion,
}

impl ScopeDoubt {
    /// Records that a request was refused access to a scope. `None` if there is no place for it.
    pub(in crate::pool) fn of(key: &Key, scope: &Scope) -> Option<Self> {
        let pooled = key.pooled();
        let (config, now) = (pooled.limit_config(), &mut LazyNow::default());
        let scopes = &pooled.core.scopes;
        let (entry, suspicion) =
            scopes.change(scope, Purpose::Access, config, now, |entry, _| {
                entry.begin_doubt();
                (Arc::clone(entry), entry.limit.doubt())
            })?;
        Some(Self {
            key: key.clone(),
            entry,
            suspicion,
        })
    }

    /// Whether it is about this key.
    pub(crate) fn is_about(&self, key: &Key) -> bool {
        self.key.is_same(key)
    }

    /// The request succeeded with another key. Requests with the same scope leave this key out for ten
    /// minutes, unless one has succeeded with it in the meantime.
    pub(crate) fn convict(self, cause: Cause) -> Marked {
        let key = self.key.pooled();
        let (config, now) = (key.limit_config(), &mut LazyNow::default());
        // The new secret of a key may belong to another account.
        if !self.key.is_current() || key.is_outdated() {
            return Marked::Unchanged;
        }
        let limit = &self.entry.limit;
        let wait = limit.cooldown(config, Some(NO_ACCESS), now);
        let marked = key.core.scopes.change_if_listed(&self.entry, || {
            let is_proven = limit.settle_doubt(self.suspicion);
            is_proven.then(|| limit.cool_down(config, limit.value(), wait, false, cause, now))
        });
        let marked = marked.flatten().unwrap_or(Marked::Unchanged);
        let state = KeyState::Temporary { retry_after: wait };
        key.after_mark(marked, Some(&self.entry.scope), state, cause);
        marked
    }
}

impl Drop for ScopeDoubt {
    fn drop(&mut self) {
        self.entry.end_doubt();
        self.key.pooled().core.scopes.tidy(&self.entry);
    }
}
