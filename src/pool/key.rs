use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::clock::LazyNow;
use super::keys::{Entry, Keys, Picked};
use super::state::{KeyState, Marked};

/// A handle to one key of a pool.
///
/// It remembers the generation under which it was handed out: once the key has been returned to
/// service by other means, a mark through an older handle changes nothing.
///
/// `Debug` shows the hint and the label, never the key.
#[derive(Clone)]
pub struct Key {
    keys: Arc<Keys>,
    picked: Picked,
}

impl Key {
    pub(super) fn new(keys: &Arc<Keys>, picked: Picked) -> Self {
        Self {
            keys: Arc::clone(keys),
            picked,
        }
    }

    /// The key at `index`, whatever its state.
    pub(super) fn any(keys: &Arc<Keys>, index: usize) -> Self {
        let generation = keys.generation(index);
        Self::new(
            keys,
            Picked {
                index: index as u32,
                generation,
            },
        )
    }

    /// The key's ends, for people: `sk-a...efgh`. The shorter the key, the less is shown.
    pub fn hint(&self) -> &str {
        self.entry().secret.hint()
    }

    /// The label given to the builder.
    pub fn label(&self) -> Option<&str> {
        self.entry().label.as_deref()
    }

    /// The key's position in the pool, from 0.
    pub fn index(&self) -> usize {
        self.picked.index()
    }

    /// The key's state now.
    pub fn state(&self) -> KeyState {
        self.keys.state(self.index(), &mut LazyNow::default())
    }

    /// The key itself. Handle with care.
    pub fn expose_secret(&self) -> &str {
        self.entry().secret.expose()
    }

    /// The key as a header value, marked sensitive. Prebuilt: a clone counts a reference.
    pub fn header_value(&self) -> HeaderValue {
        self.entry().secret.header_value().clone()
    }

    /// `Bearer` and the key as a header value, marked sensitive. Prebuilt: a clone counts a
    /// reference.
    pub fn bearer(&self) -> HeaderValue {
        self.entry().secret.bearer().clone()
    }

    /// Puts the key out for `wait`; `None` or zero is the pool's default cooldown. A wait above
    /// the pool's maximum is cut to it.
    ///
    /// A cooldown is never shortened, and a key that is out for good stays so.
    pub fn mark_temporary(&self, wait: Option<Duration>) -> Marked {
        self.keys
            .mark_temporary(self.index(), self.picked.generation, wait)
    }

    /// Puts the key out for good.
    pub fn mark_permanent(&self) -> Marked {
        self.keys
            .mark_permanent(self.index(), self.picked.generation)
    }

    fn entry(&self) -> &Entry {
        self.keys.entry(self.index())
    }
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
