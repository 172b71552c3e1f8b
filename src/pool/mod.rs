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
//! Labels and cooldowns are set with the builder:
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
//!     .build()?;
//!
//! assert_eq!(pool.walker().next_key().unwrap().label(), Some("team-a"));
//! # Ok(())
//! # }
//! ```

mod builder;
mod clock;
mod error;
mod key;
mod keys;
mod secret;
mod state;
mod walker;
mod word;

#[cfg(all(test, tower_key_failover_loom))]
mod models;
#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests;

use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;

pub use self::builder::KeyPoolBuilder;
pub use self::error::{BuildError, Exhausted, ExhaustedKind};
pub use self::key::Key;
pub use self::state::{KeyState, Marked};
pub use self::walker::Walker;

pub(crate) use self::clock::LazyNow;
use self::keys::Keys;
pub(crate) use self::keys::Picked;

/// The keys of one provider, shared by all requests to it.
///
/// See the [module docs](self).
pub struct KeyPool {
    keys: Arc<Keys>,
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

    /// A builder, for labels, a name and cooldowns.
    pub fn builder() -> KeyPoolBuilder {
        KeyPoolBuilder::new()
    }

    /// The pool's name, as it was given to the builder; empty when none was.
    pub fn name(&self) -> &str {
        self.keys.name()
    }

    /// How many keys the pool holds, whatever their state. Never zero.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// A walk over the keys, for one request.
    pub fn walker(&self) -> Walker {
        Walker::new(Arc::clone(&self.keys))
    }

    /// The state of each key now, in the pool's order.
    pub fn states(&self) -> Vec<KeyState> {
        let mut now = LazyNow::default();
        (0..self.keys.len())
            .map(|index| self.keys.state(index, &mut now))
            .collect()
    }

    /// A handle to each key, in the pool's order and whatever its state: for showing the pool to a
    /// person, with [`Key::label`], [`Key::hint`] and [`Key::state`].
    pub fn keys(&self) -> impl ExactSizeIterator<Item = Key> + '_ {
        (0..self.keys.len()).map(|index| Key::any(&self.keys, index))
    }

    /// The first key at or after `from` that is valid now.
    ///
    /// Borrows: no reference is counted until [`key`](Self::key) makes a handle of it.
    pub(crate) fn pick(&self, from: usize, now: &mut LazyNow) -> Option<Picked> {
        self.keys.pick(from, now)
    }

    /// A handle to the picked key.
    pub(crate) fn key(&self, picked: Picked) -> Key {
        Key::new(&self.keys, picked)
    }

    /// Why no key can be had now, leaving out the keys at `except`.
    pub(crate) fn exhausted(&self, except: &[usize], now: &mut LazyNow) -> Exhausted {
        self.keys.exhausted(except, now)
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
