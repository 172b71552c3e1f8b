use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::clock::LazyNow;
use super::picked_by::PickedBy;
use super::pooled_key::{Permits, PooledKey, Seen};
use super::reason::{Cause, Reason};
use super::scope::Scope;
use super::scoped::{ScopeDoubt, ScopedPermits, SeenInScope};
use super::state::{KeyState, Marked, Suspicion};
use crate::key_search::KeySearch;

/// A handle to one key of a pool.
///
/// The handle remembers the states of the key's limits: its own, and its group's. After the key or
/// its group has been returned to service by an operator or a probe, a mark through an older handle
/// has no effect.
///
/// A key that was removed from its pool stays usable through existing handles, so that a request in
/// progress can finish.
///
/// `Debug` shows the hint and the label, never the key.
#[derive(Clone)]
pub struct Key {
    key: Arc<PooledKey>,
    seen: Seen,
    /// The limits in the scope of the request that uses the handle. Allocated only if there are any.
    seen_in_scope: Option<Arc<SeenInScope>>,
    position: u32,
}

impl Key {
    #[inline]
    pub(super) fn new(key: &Arc<PooledKey>, position: usize) -> Self {
        Self {
            key: Arc::clone(key),
            seen: key.seen(),
            seen_in_scope: None,
            position: position as u32,
        }
    }

    /// A handle to the first key of a list, if the key's own limit is open. The key has no group.
    #[inline]
    pub(super) fn if_open(first: &Arc<PooledKey>) -> Option<Self> {
        let own = first.core.limit.value();
        own.is_open().then(|| Self {
            key: Arc::clone(first),
            seen: Seen::of_own(own),
            seen_in_scope: None,
            position: 0,
        })
    }

    /// Whether no limit had a mark when the handle was made.
    #[inline]
    pub(super) fn has_seen_no_mark(&self) -> bool {
        let in_scope = self.seen_in_scope.as_deref();
        self.seen.has_no_mark() && in_scope.is_none_or(SeenInScope::has_no_mark)
    }

    /// The same handle for a request with a scope.
    #[inline]
    pub(super) fn for_scope(mut self, scope: Option<&Scope>) -> Self {
        if let Some(scope) = scope {
            self.seen_in_scope = self.key.seen_in(scope).map(Arc::new);
        }
        self
    }

    /// Returns the first and last characters of the key, for people: `sk-a...efgh`. Shorter keys show
    /// less.
    pub fn hint(&self) -> &str {
        self.key.secret.hint()
    }

    /// Returns the key's label, if it has one.
    pub fn label(&self) -> Option<&str> {
        self.key.settings.label.as_deref()
    }

    /// Returns the name of the key's group, if it has one.
    pub fn group(&self) -> Option<&str> {
        self.key.group.as_deref().map(|group| &*group.name)
    }

    /// Returns the value of type `T` that was [attached](crate::pool::NewKey::extension) to the key.
    ///
    /// ```
    /// use tower_key_failover::pool::{KeyPool, NewKey};
    ///
    /// struct Region(&'static str);
    ///
    /// # fn main() -> Result<(), tower_key_failover::pool::BuildError> {
    /// let pool = KeyPool::builder()
    ///     .labeled_key("ireland", "sk-first-0123456789ab")
    ///     .extension(Region("eu-west-1"))
    ///     .build()?;
    ///
    /// let key = pool.keys().next().unwrap();
    /// assert_eq!(key.extension().map(|Region(name)| *name), Some("eu-west-1"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn extension<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.key.settings.extension()
    }

    /// Returns the key's position in the pool, from 0, when the handle was made.
    pub fn index(&self) -> usize {
        self.position as usize
    }

    /// Returns the key's current state: the worse of its own and its group's. A key that was removed
    /// from its pool is permanently marked.
    pub fn state(&self) -> KeyState {
        self.key.state(&mut LazyNow::default())
    }

    /// Returns the secret itself. Take care not to log it.
    pub fn expose_secret(&self) -> &str {
        self.key.secret.expose()
    }

    /// A search for the key in what a provider sent.
    pub(crate) fn search(&self) -> KeySearch<'_> {
        self.key.secret.search()
    }

    /// Returns the key as a header value that is marked sensitive. The value is prebuilt, so this only
    /// increments a reference count.
    pub fn header_value(&self) -> HeaderValue {
        self.key.secret.header_value().clone()
    }

    /// Returns `Bearer <key>` as a header value that is marked sensitive. The value is prebuilt, so
    /// this only increments a reference count.
    pub fn bearer(&self) -> HeaderValue {
        self.key.secret.bearer().clone()
    }

    /// Lets the key cool down for `wait`. `None` and zero mean the pool's default cooldown. A
    /// wait longer than the pool's maximum is shortened to the maximum. If the key is in a group, the
    /// whole group cools down.
    ///
    /// A mark never shortens a cooldown, and never lifts a permanent mark.
    pub fn mark_temporary(&self, wait: Option<Duration>) -> Marked {
        self.cool_down(wait, Cause::of(Reason::Other)).0
    }

    /// Marks the key permanently. Its group is unaffected.
    pub fn mark_permanent(&self) -> Marked {
        self.mark_permanently(Cause::of(Reason::Other))
    }

    /// Also returns how long the cooldown is.
    pub(crate) fn cool_down(&self, wait: Option<Duration>, cause: Cause) -> (Marked, Duration) {
        self.key.cool_down(self.seen, wait, cause)
    }

    /// The same for one scope. Without a scope, the whole key cools down.
    pub(crate) fn cool_down_in(
        &self,
        scope: Option<&Scope>,
        wait: Option<Duration>,
        cause: Cause,
    ) -> (Marked, Duration) {
        match scope {
            Some(scope) => self.key.cool_down_in(scope, self.seen, wait, cause),
            None => self.cool_down(wait, cause),
        }
    }

    /// Records that the key may not use a scope. This has no effect unless the request succeeds with
    /// another key.
    pub(crate) fn doubt_scope(&self, scope: &Scope) -> Option<ScopeDoubt> {
        ScopeDoubt::of(self, scope)
    }

    /// Whether no limit of the key was returned to service since the handle was created.
    pub(super) fn is_current(&self) -> bool {
        self.seen.is_current(&self.key)
    }

    pub(crate) fn mark_permanently(&self, cause: Cause) -> Marked {
        self.key.mark_permanently(self.seen, cause)
    }

    /// Records a refusal that may be the request's fault. The key stays valid.
    pub(crate) fn suspect(&self, cause: Cause) -> Suspicion {
        self.key.suspect(self.seen, cause)
    }

    /// Marks the key permanently, unless a request has succeeded with it since the suspicion.
    pub(crate) fn convict(&self, suspicion: Suspicion, cause: Cause) -> Marked {
        self.key.convict(self.seen, suspicion, cause)
    }

    /// Records that a request with this scope succeeded with the key. If it holds a
    /// [`Probe`](super::Probe), that records the success instead.
    #[inline]
    pub(crate) fn succeed(&self, scope: Option<&Scope>) {
        self.succeed_in(scope, ScopedPermits::default());
        self.key.succeed(self.seen);
    }

    pub(super) fn succeed_with(
        &self,
        permits: Permits,
        scope: Option<&Scope>,
        scoped: ScopedPermits,
    ) {
        self.succeed_in(scope, scoped);
        self.key.succeed_with(self.seen, permits);
    }

    #[inline]
    fn succeed_in(&self, scope: Option<&Scope>, permits: ScopedPermits) {
        if let Some(scope) = scope {
            let seen = self.seen_in_scope.as_deref();
            self.key.succeed_in(scope, seen, permits);
        }
    }

    /// Remembers the current states of the key's limits instead of earlier ones.
    pub(crate) fn renew(&mut self, scope: Option<&Scope>) {
        self.seen = self.key.seen();
        self.seen_in_scope = scope.and_then(|scope| self.key.seen_in(scope).map(Arc::new));
    }

    /// Whether an attempt of a request with this scope can start with the key.
    #[inline]
    pub(crate) fn check(&self, scope: Option<&Scope>) -> KeyCheck {
        let is_unscoped = scope.is_none() || self.key.core.scopes.is_unused();
        match self.key.is_open() && is_unscoped {
            true => KeyCheck::Usable,
            false => self.key.check(scope),
        }
    }

    pub(super) fn pooled(&self) -> &Arc<PooledKey> {
        &self.key
    }

    /// Whether a request has succeeded with the key since it was added or returned to service.
    pub(crate) fn is_proven(&self) -> bool {
        self.key.core.limit.is_proven()
    }

    /// Records that an attempt starts.
    #[inline]
    pub(crate) fn record_picked(&self, by: PickedBy) {
        self.key.record_picked(by);
    }

    /// Records a response that goes to the caller.
    #[inline]
    pub(crate) fn record_served(&self) {
        self.key.record_served();
    }

    /// Records a response that refused the key, whatever its mark.
    pub(crate) fn record_refused(&self, reason: Reason) {
        self.key.record_refused(reason);
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.is_handle_of(&other.key)
    }

    pub(super) fn is_handle_of(&self, key: &PooledKey) -> bool {
        Arc::ptr_eq(&self.key.core, &key.core)
    }
}

/// Whether an attempt can start with a key that was picked earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyCheck {
    Usable,
    /// It was marked in the meantime.
    Marked,
    /// It was removed or disabled.
    Withdrawn,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("hint", &self.hint())
            .field("label", &self.label())
            .field("state", &self.state())
            .finish()
    }
}
