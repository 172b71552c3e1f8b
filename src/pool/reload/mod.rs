//! Replaces the list of keys of a pool that is in use.

mod removed_key;

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

use self::removed_key::{missing, remove_missing};
use super::error::BuildError;
use super::new_key::NewKey;
use super::observe::{KeyName, PoolEvent};
use super::pooled_key::PooledKey;
use super::select::{KeyList, Shards};
use super::shared::Shared;

/// Identifies one key of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyId<'a> {
    /// The key with this label.
    Label(&'a str),
    /// The key at this position, from 0.
    Position(usize),
}

impl KeyId<'_> {
    /// The key's position in `list`.
    pub(super) fn find(self, list: &KeyList) -> Result<usize, ChangeError> {
        match self {
            KeyId::Position(at) if at < list.keys.len() => Ok(at),
            KeyId::Position(_) => Err(ChangeError::UnknownKey),
            KeyId::Label(label) => {
                let has_label = |key: &Arc<PooledKey>| key.settings.label.as_deref() == Some(label);
                let found = list.keys.iter().position(has_label);
                found.ok_or(ChangeError::UnknownKey)
            }
        }
    }
}

impl<'a> From<&'a str> for KeyId<'a> {
    fn from(label: &'a str) -> Self {
        Self::Label(label)
    }
}

impl From<usize> for KeyId<'_> {
    fn from(position: usize) -> Self {
        Self::Position(position)
    }
}

/// Why the keys of a pool could not be changed. The pool keeps its previous keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeError {
    /// No key has this label or position.
    UnknownKey,
    /// The new list of keys is invalid.
    Build(BuildError),
}

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey => f.write_str("the pool holds no such key"),
            Self::Build(error) => error.fmt(f),
        }
    }
}

impl Error for ChangeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::UnknownKey => None,
            Self::Build(error) => error.source(),
        }
    }
}

impl From<BuildError> for ChangeError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

/// The difference between the old and the new list of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyChanges {
    /// The keys that were added, in the pool's order.
    pub added: Vec<KeyName>,
    /// The keys that were removed, in their old order.
    pub removed: Vec<KeyName>,
    /// The number of keys that stayed. Each kept its state.
    pub kept: usize,
}

/// Replaces the list of keys. `edit` returns the keys to keep and the keys to add.
pub(super) fn reload<E: From<BuildError>>(
    shards: &ArcSwap<Shards>,
    shared: &Arc<Shared>,
    edit: impl FnOnce(&KeyList) -> Result<(Vec<Arc<PooledKey>>, Vec<NewKey>), E>,
) -> Result<KeyChanges, E> {
    let reloading = shared.lock_reload();
    let old = Arc::clone(shards.load().own());
    let (kept, keys) = edit(&old)?;
    let new = KeyList::build(kept, keys, &old.keys, shared)?;
    for key in &new.keys {
        key.use_secret();
    }
    shards.store(Arc::new(Shards::of(new)));
    let new = Arc::clone(shards.load().own());
    let mut changes = KeyChanges {
        added: missing(&new, &old).map(|key| key.name()).collect(),
        removed: remove_missing(&old, &new).map(|key| key.name()).collect(),
        kept: 0,
    };
    changes.kept = new.keys.len() - changes.added.len();
    // An observer of the event may change the list itself.
    drop(reloading);
    shared.queue.wake();
    shared.changes.notify();
    if !changes.added.is_empty() || !changes.removed.is_empty() {
        shared.on_event(|| PoolEvent::Changed {
            added: changes.added.clone(),
            removed: changes.removed.clone(),
        });
    }
    Ok(changes)
}
