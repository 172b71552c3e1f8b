//! Keys, their states, and which key a request uses.
//!
//! A [`KeyPool`] holds the keys of one provider in order: the first is the primary key, the others are
//! its fallbacks. All requests share the pool. The state of each key is one atomic value, so reading
//! and marking take no lock. The order of marks does not matter: the latest deadline wins, and a
//! permanent mark outranks every cooldown.
//!
//! ```
//! use std::time::Duration;
//! use tower_key_failover::pool::{KeyPool, KeyState, Marked};
//!
//! # fn main() -> Result<(), tower_key_failover::pool::BuildError> {
//! let pool = KeyPool::new(["sk-first-0123456789ab", "sk-second-0123456789"])?;
//!
//! let mut walker = pool.walker();
//! let key = walker.next_key().unwrap();
//! assert_eq!(key.hint(), "sk-f...89ab");
//! assert_eq!(key.mark_temporary(Some(Duration::from_secs(5))), Marked::Transitioned);
//!
//! // For the next five seconds, requests start with the second key.
//! assert_eq!(pool.walker().next_key().unwrap().hint(), "sk-s...6789");
//! assert!(matches!(pool.states()[..], [KeyState::Temporary { .. }, KeyState::Valid]));
//! # Ok(())
//! # }
//! ```
//!
//! [`KeyPoolBuilder`] sets labels, groups, cooldowns, and how keys
//! [return to service](crate::guides::recovery).

mod builder;
mod changes;
mod clock;
mod error;
mod in_flight;
mod key;
mod key_choice;
mod key_settings;
mod new_key;
mod observe;
pub mod peer;
mod picked_by;
mod pooled_key;
mod probe;
mod queue;
mod reason;
mod reload;
mod requests;
#[cfg(feature = "serde")]
mod save;
mod scope;
mod scoped;
mod secret;
mod select;
mod shared;
mod state;

#[cfg(all(test, tower_key_failover_loom))]
mod loom_tests;
#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use secrecy::SecretString;

pub use self::builder::KeyPoolBuilder;
pub use self::error::{BuildError, Exhausted, ExhaustedKind};
pub use self::key::Key;
pub use self::key_choice::KeyChoice;
pub use self::new_key::NewKey;
#[cfg(feature = "events")]
pub use self::observe::PoolEvents;
pub use self::observe::{
    KeyName, KeySnapshot, KeyUsage, PoolEvent, PoolSnapshot, ReturnedBy, ScopeSnapshot,
};
pub use self::picked_by::PickedBy;
pub use self::reason::Reason;
pub use self::reload::{ChangeError, KeyChanges, KeyId};
#[cfg(feature = "serde")]
pub use self::save::SavedPool;
pub use self::scope::Scope;
pub use self::select::{Selection, Walker, session_id};
pub use self::state::{KeyState, Marked};

pub(crate) use self::in_flight::InFlight;
pub(crate) use self::key::KeyCheck;
pub(crate) use self::observe::PoolObserver;
pub(crate) use self::probe::Probe;
pub(crate) use self::queue::{Outlook, Turn, Waiter};
pub(crate) use self::reason::Cause;
pub(crate) use self::scoped::ScopeDoubt;
pub(crate) use self::select::{Pick, PickRequest};
pub(crate) use self::state::Suspicion;

use self::clock::LazyNow;
use self::reload::reload;
use self::secret::Secret;
use self::select::{KeyList, Shards};
use self::shared::Shared;

/// The keys of one provider, shared by all requests to it.
///
/// See the [module docs](self) for an example.
pub struct KeyPool {
    shared: Arc<Shared>,
    shards: ArcSwap<Shards>,
}

impl KeyPool {
    /// Creates a pool of `keys`, in this order, with the default settings.
    ///
    /// # Errors
    ///
    /// Returns [`BuildError`] if there is no key, if a key occurs twice, if a key is empty or has white
    /// space around it, or if it is not a legal header value.
    pub fn new<I>(keys: I) -> Result<Self, BuildError>
    where
        I: IntoIterator,
        I::Item: Into<SecretString>,
    {
        keys.into_iter()
            .fold(Self::builder(), KeyPoolBuilder::key)
            .build()
    }

    /// Returns a builder, which sets labels, groups, a name, cooldowns, and how keys return to
    /// service.
    pub fn builder() -> KeyPoolBuilder {
        KeyPoolBuilder::new()
    }

    fn from_parts(shared: Arc<Shared>, list: KeyList) -> Self {
        Self {
            shared,
            shards: ArcSwap::from_pointee(Shards::of(list)),
        }
    }

    /// Returns the pool's name, which is empty unless the builder set one.
    pub fn name(&self) -> &str {
        &self.shared.config.name
    }

    /// Returns how the pool chooses among its usable keys.
    pub fn selection(&self) -> Selection {
        self.shared.config.selection
    }

    /// Returns the number of keys, in whatever state. It is never zero.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.shards.load().own().keys.len()
    }

    /// Returns a walk over the valid keys, for one request.
    pub fn walker(&self) -> Walker {
        Walker::new(self.list())
    }

    /// Returns the current state of each key, in the pool's order.
    pub fn states(&self) -> Vec<KeyState> {
        let mut now = LazyNow::default();
        let list = self.list();
        list.keys.iter().map(|key| key.state(&mut now)).collect()
    }

    /// Returns a handle to each key, in the pool's order and in whatever state. [`Key::label`],
    /// [`Key::hint`] and [`Key::state`] describe a key to people.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = Key> + '_ {
        let list = self.list();
        (0..list.keys.len()).map(move |at| list.handle(at))
    }

    /// Returns the current state of the pool.
    ///
    /// Each key is read once. Marks that are made in the meantime may be included for some keys and
    /// not for others.
    pub fn snapshot(&self) -> PoolSnapshot {
        let mut now = LazyNow::default();
        let list = self.list();
        PoolSnapshot {
            name: self.name().into(),
            keys: list.keys.iter().map(|key| key.snapshot(&mut now)).collect(),
        }
    }

    /// Replaces the list of keys as a whole.
    ///
    /// A key that is in both lists keeps its state, even if its position, label or group changes. A new
    /// key is valid. A key that is missing from the new list starts no further attempt, but attempts in
    /// progress finish with it. Its secret is wiped when the last handle is dropped. If it is added
    /// again later, it is a new key.
    ///
    /// # Errors
    ///
    /// Returns [`BuildError`] for the same reasons as [`KeyPoolBuilder::build`]. In that case,
    /// the pool is unchanged.
    pub fn replace_keys<I>(&self, keys: I) -> Result<KeyChanges, BuildError>
    where
        I: IntoIterator,
        I::Item: Into<NewKey>,
    {
        let keys = keys.into_iter().map(Into::into).collect();
        reload(&self.shards, &self.shared, |_| Ok((Vec::new(), keys)))
    }

    /// Adds a key at the end of the list.
    ///
    /// # Errors
    ///
    /// Returns [`BuildError`] if the pool contains the key or its label already, if the key is empty or
    /// has white space around it, or if it is not a legal header value. In that case, the pool is
    /// unchanged.
    pub fn add_key(&self, key: impl Into<NewKey>) -> Result<(), BuildError> {
        let key = key.into();
        let edit = |old: &KeyList| Ok((old.keys.to_vec(), vec![key]));
        reload(&self.shards, &self.shared, edit).map(drop)
    }

    /// Removes a key, as [`replace_keys`](Self::replace_keys) does.
    ///
    /// # Errors
    ///
    /// Returns [`ChangeError`] if there is no such key, or if it is the last one. In that case,
    /// the pool is unchanged.
    pub fn remove_key<'a>(&self, key: impl Into<KeyId<'a>>) -> Result<(), ChangeError> {
        let key = key.into();
        let edit = |old: &KeyList| {
            let mut kept = old.keys.to_vec();
            kept.remove(key.find(old)?);
            Ok((kept, Vec::new()))
        };
        reload(&self.shards, &self.shared, edit).map(drop)
    }

    /// Replaces the secret of a key, such as a token that expires. The key keeps its state, its
    /// settings, its position and its sessions.
    ///
    /// Attempts in progress finish with the old secret. If it is refused from now on, the key is
    /// neither suspected nor permanently marked. Marks from before stay: [`reinstate`](Self::reinstate)
    /// the key if the old secret was refused already.
    ///
    /// # Errors
    ///
    /// Returns [`ChangeError`] if there is no such key, if another key has this secret, or if the
    /// secret cannot be sent. In that case, the pool is unchanged.
    ///
    /// ```
    /// use tower_key_failover::pool::KeyPool;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = KeyPool::builder()
    ///     .labeled_key("azure", "token-of-this-hour-0123")
    ///     .build()?;
    ///
    /// pool.replace_secret("azure", "token-of-next-hour-4567")?;
    ///
    /// let key = pool.keys().next().unwrap();
    /// assert_eq!(key.expose_secret(), "token-of-next-hour-4567");
    /// # Ok(())
    /// # }
    /// ```
    pub fn replace_secret<'a>(
        &self,
        key: impl Into<KeyId<'a>>,
        secret: impl Into<SecretString>,
    ) -> Result<(), ChangeError> {
        let (key, secret) = (key.into(), secret.into());
        let edit = |old: &KeyList| {
            let mut kept = old.keys.to_vec();
            let position = key.find(old)?;
            let secret = Secret::new(secret)
                .map_err(|problem| BuildError::InvalidKey { position, problem })?;
            kept[position] = Arc::new(kept[position].with_secret(secret));
            Ok::<_, ChangeError>((kept, Vec::new()))
        };
        reload(&self.shards, &self.shared, edit).map(drop)
    }

    /// Returns a key and its group to service, whatever their marks. All requests can use the key at
    /// once. Marks of attempts that started earlier have no effect from now on, even if the key was
    /// valid.
    ///
    /// Returns whether the key was unusable.
    ///
    /// # Errors
    ///
    /// Returns [`ChangeError`] if there is no such key.
    pub fn reinstate<'a>(&self, key: impl Into<KeyId<'a>>) -> Result<bool, ChangeError> {
        let list = self.list();
        let key = &list.keys[key.into().find(&list)?];
        let was_closed = key.reinstate();
        if was_closed {
            self.shared.on_event(|| PoolEvent::Returned {
                key: key.name(),
                by: ReturnedBy::Operator,
            });
        }
        // The key may have been valid, but reopening.
        self.shared.queue.wake();
        Ok(was_closed)
    }

    /// Marks a key permanently until it is reinstated. The key is never probed.
    ///
    /// # Errors
    ///
    /// Returns [`ChangeError`] if there is no such key.
    pub fn disable<'a>(&self, key: impl Into<KeyId<'a>>) -> Result<Marked, ChangeError> {
        let list = self.list();
        let marked = list.keys[key.into().find(&list)?].disable();
        // No waiter should keep waiting for this key.
        self.shared.queue.wake();
        Ok(marked)
    }

    /// Subscribes to the pool's events: marks, returns, exhaustion and changes of the list.
    ///
    /// The pool never waits for a subscriber. A subscriber that is 256 events behind loses the oldest
    /// ones and receives [`PoolEvent::Missed`]. A subscription keeps neither a key nor the pool alive,
    /// and ends when the pool is dropped. While nobody subscribes, no event is created.
    ///
    /// ```
    /// use tower_key_failover::pool::{KeyPool, KeyState, PoolEvent, Reason};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = KeyPool::builder()
    ///     .labeled_key("team-a", "sk-first-0123456789ab")
    ///     .labeled_key("team-b", "sk-second-0123456789")
    ///     .build()?;
    /// let mut events = pool.subscribe();
    ///
    /// pool.disable("team-a")?;
    ///
    /// let Some(PoolEvent::Marked { key, state, reason, .. }) = events.next_event().await else {
    ///     panic!("disabling a key marks it");
    /// };
    /// assert_eq!(key.label.as_deref(), Some("team-a"));
    /// assert_eq!((state, reason), (KeyState::Permanent, Reason::Operator));
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "events")]
    #[cfg_attr(docsrs, doc(cfg(feature = "events")))]
    pub fn subscribe(&self) -> PoolEvents {
        self.shared.observers.subscribe()
    }

    /// Updates the gauge of keys in each state, and describes all metrics of this crate.
    ///
    /// No timer notices the end of a cooldown, so call this before you render the metrics. The guide
    /// to [observability](crate::guides::observability) lists the metrics.
    ///
    /// ```
    /// use tower_key_failover::KeyPool;
    ///
    /// /// The handler of `GET /metrics`. `render` is the exporter's, such as
    /// /// `PrometheusHandle::render`.
    /// fn metrics(pool: &KeyPool, render: impl Fn() -> String) -> String {
    ///     pool.record_metrics();
    ///     render()
    /// }
    /// # let pool = KeyPool::new(["first-key", "second-key"]).unwrap();
    /// # assert_eq!(metrics(&pool, String::new), "");
    /// ```
    #[cfg(feature = "metrics")]
    #[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
    pub fn record_metrics(&self) {
        <crate::Observer as PoolObserver>::on_record(&self.snapshot());
    }

    /// Returns the marks of all keys, which [`restore`](Self::restore) sets again after a restart.
    ///
    /// ```
    /// use tower_key_failover::pool::{KeyPool, KeyState, SavedPool};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let before = KeyPool::new(["sk-first-0123456789ab", "sk-second-0123456789"])?;
    /// before.keys().next().unwrap().mark_permanent();
    /// let file = serde_json::to_string(&before.save())?;
    /// assert!(!file.contains("sk-f") && !file.contains("89ab"));
    ///
    /// // After the restart, the list of keys may be a different one.
    /// let after = KeyPool::new(["sk-third-0123456789c", "sk-first-0123456789ab"])?;
    /// let saved: SavedPool = serde_json::from_str(&file)?;
    /// assert_eq!(after.restore(&saved), 1);
    /// assert_eq!(after.states(), [KeyState::Valid, KeyState::Permanent]);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "serde")]
    #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
    pub fn save(&self) -> SavedPool {
        SavedPool::of(&self.list(), &self.shared.config.limits)
    }

    /// Sets the marks that the pool had when it was saved, as far as they still apply. Returns how many
    /// of the marked keys the pool contains.
    ///
    /// Restoring shortens and lifts no mark of the pool, and keys that were not saved are unaffected.
    /// Deadlines that have passed are ignored, and none is later than the pool's
    /// [maximum cooldown](KeyPoolBuilder::max_cooldown). A [disabled](Self::disable) key is never
    /// probed. Other marked keys are [probed](KeyPoolBuilder::probe_after) as if they had been marked
    /// now.
    ///
    /// Restored marks are reported like other marks. The mark of a group is reported with one of its
    /// keys.
    #[cfg(feature = "serde")]
    #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
    pub fn restore(&self, saved: &SavedPool) -> usize {
        saved.restore_to(&self.list())
    }

    /// The current list of keys. A short read borrows `shards` instead, which changes no reference count.
    fn list(&self) -> Arc<KeyList> {
        Arc::clone(self.shards.load().own())
    }
}

impl fmt::Debug for KeyPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPool")
            .field("name", &self.name())
            .field("keys", &self.keys().collect::<Vec<_>>())
            .finish()
    }
}
