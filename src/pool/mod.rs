//! Which key may be used now, and until when.
//!
//! A [`KeyPool`] holds the keys of one provider in order: the first is the primary, the others its
//! fallbacks. All requests share it. Each key's state is one atomic word, so reading and marking
//! take no lock, and marks commute: whatever the order in which they arrive, the latest deadline
//! wins and a permanent mark beats every cooldown.
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
//! // Whoever comes next starts with the second key, until the five seconds are over.
//! assert_eq!(pool.walker().next_key().unwrap().hint(), "sk-s...6789");
//! assert!(matches!(pool.states()[..], [KeyState::Temporary { .. }, KeyState::Valid]));
//! # Ok(())
//! # }
//! ```
//!
//! Labels, cooldowns, and how keys [return to service](crate::guides::recovery) are set with the builder:
//!
//! ```
//! use std::time::Duration;
//! use tower_key_failover::pool::KeyPool;
//!
//! # fn main() -> Result<(), tower_key_failover::pool::BuildError> {
//! let pool = KeyPool::builder()
//!     .name("anthropic")
//!     .labeled_key("team-a", "sk-ant-api03-abcdefgh")
//!     .key("sk-ant-api03-ijklmnop")
//!     .default_cooldown(Duration::from_secs(30))
//!     .probe_after(Duration::from_secs(600)) // tries again what is out for good
//!     .build()?;
//!
//! assert_eq!(pool.walker().next_key().unwrap().label(), Some("team-a"));
//! # Ok(())
//! # }
//! ```

mod builder;
mod change;
mod clock;
mod copies;
mod error;
mod events;
mod gate;
mod inner;
mod key;
mod line;
mod list;
mod loan;
mod make;
mod new_key;
mod reason;
mod rules;
#[cfg(feature = "serde")]
mod saved;
mod secret;
mod shared;
mod slot;
mod snapshot;
mod state;
#[cfg(feature = "events")]
mod subscribers;
mod trial;
mod usage;
mod walker;
mod word;
mod words;

#[cfg(all(test, tower_key_failover_loom))]
mod models;
#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests;

use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;

pub use self::builder::KeyPoolBuilder;
pub use self::change::{ChangeError, KeyChanges, KeyId};
pub use self::error::{BuildError, Exhausted, ExhaustedKind};
pub use self::events::{KeyName, PoolEvent, ReturnedBy};
pub use self::key::Key;
pub use self::new_key::NewKey;
pub use self::reason::Reason;
#[cfg(feature = "serde")]
pub use self::saved::SavedPool;
pub use self::snapshot::{KeySnapshot, PoolSnapshot};
pub use self::state::{KeyState, Marked};
#[cfg(feature = "events")]
pub use self::subscribers::PoolEvents;
pub use self::usage::KeyUsage;
pub use self::walker::Walker;

use self::clock::LazyNow;
use self::inner::Inner;
pub(crate) use self::line::Place;
pub(crate) use self::list::{Asking, Outlook, Pick};
pub(crate) use self::loan::Loan;
pub(crate) use self::reason::Cause;
use self::slot::Slot;

/// The keys of one provider, shared by all requests to it.
///
/// See the [module docs](self).
pub struct KeyPool {
    inner: Arc<Inner>,
}

impl KeyPool {
    /// A pool of `keys`, in this order, with the default cooldowns.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when there is no key, when one stands twice, or when one is empty or not a
    /// legal header value.
    pub fn new<I>(keys: I) -> Result<Self, BuildError>
    where
        I: IntoIterator,
        I::Item: Into<SecretString>,
    {
        keys.into_iter()
            .fold(Self::builder(), KeyPoolBuilder::key)
            .build()
    }

    /// A builder, for labels, a name, cooldowns, and how keys return to service.
    pub fn builder() -> KeyPoolBuilder {
        KeyPoolBuilder::new()
    }

    /// The pool's name, as it was given to the builder; empty when none was.
    pub fn name(&self) -> &str {
        &self.inner.shared.rules.name
    }

    /// How many keys the pool holds, whatever their state. Never zero.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.inner.copies.load().own().slots.len()
    }

    /// A walk over the keys, for one request.
    pub fn walker(&self) -> Walker {
        Walker::new(self.inner.list())
    }

    /// The state of each key now, in the pool's order.
    pub fn states(&self) -> Vec<KeyState> {
        let mut now = LazyNow::default();
        let list = self.inner.list();
        list.slots.iter().map(|slot| slot.state(&mut now)).collect()
    }

    /// A handle to each key, in the pool's order and whatever its state: for showing the pool to a
    /// person, with [`Key::label`], [`Key::hint`] and [`Key::state`].
    pub fn keys(&self) -> impl ExactSizeIterator<Item = Key> + '_ {
        let list = self.inner.list();
        (0..list.slots.len()).map(move |at| list.key(at))
    }

    /// The first key that a request may use, leaving out those it has `tried`.
    ///
    /// Borrows the list: no reference is counted but that of the key which is picked.
    #[inline]
    pub(crate) fn pick<'a>(
        &self,
        asking: Asking<'_>,
        tried: impl Iterator<Item = &'a Key> + Clone,
    ) -> Option<Pick> {
        let copies = self.inner.copies.load();
        let list = copies.own();
        let tried = |slot: &Slot| tried.clone().any(|key| key.is_of(slot));
        let rules = &self.inner.shared.rules;
        list.pick(asking, tried, rules, &mut LazyNow::default())
    }

    /// Whether there is a key for a request behind `after`, leaving out those it has `tried`.
    pub(crate) fn has_more<'a>(
        &self,
        after: &Key,
        tried: impl Iterator<Item = &'a Key> + Clone,
    ) -> bool {
        let copies = self.inner.copies.load();
        let list = copies.own();
        let tried = |slot: &Slot| tried.clone().any(|key| key.is_of(slot));
        let rules = &self.inner.shared.rules;
        list.has_more(after, tried, rules, &mut LazyNow::default())
    }

    /// Why no key can be had now, leaving `out` some keys.
    pub(crate) fn exhausted<'a>(&self, out: impl Iterator<Item = &'a Key> + Clone) -> Exhausted {
        let copies = self.inner.copies.load();
        let list = copies.own();
        let out = |slot: &Slot| out.clone().any(|key| key.is_of(slot));
        list.exhausted(out, &mut LazyNow::default())
    }

    /// What there is to wait for, leaving `out` some keys.
    pub(crate) fn outlook<'a>(&self, out: impl Iterator<Item = &'a Key> + Clone) -> Outlook {
        let copies = self.inner.copies.load();
        let list = copies.own();
        let out = |slot: &Slot| out.clone().any(|key| key.is_of(slot));
        list.outlook(out, &mut LazyNow::default())
    }

    /// A key as [`pick`](Self::pick) has it; or, as of the same moment, what there is to wait for.
    pub(crate) fn pick_or_wait<'a>(
        &self,
        asking: Asking<'_>,
        tried: impl Iterator<Item = &'a Key> + Clone,
        out: impl Iterator<Item = &'a Key> + Clone,
    ) -> Result<Pick, Outlook> {
        let copies = self.inner.copies.load();
        let list = copies.own();
        let tried = |slot: &Slot| tried.clone().any(|key| key.is_of(slot));
        let out = |slot: &Slot| out.clone().any(|key| key.is_of(slot));
        // Read once: a key that returned in between would be waited for without an alarm.
        let mut now = LazyNow::default();
        list.pick(asking, tried, &self.inner.shared.rules, &mut now)
            .ok_or_else(|| list.outlook(out, &mut now))
    }

    /// Tells those who listen that a request was told so.
    pub(crate) fn tell_exhausted(&self, exhausted: Exhausted) {
        self.inner
            .shared
            .tell(|| PoolEvent::Exhausted { exhausted });
    }

    /// The last place in the line of those who wait for a key, unless it is full.
    pub(crate) fn queue(&self, uses_every_key: bool) -> Option<Place> {
        Place::take(&self.inner.shared, uses_every_key)
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
