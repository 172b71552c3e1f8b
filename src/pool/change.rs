//! Changing a live pool: its list of keys, and single ones of them by hand.

use std::collections::HashSet;
use std::sync::Arc;

use thiserror::Error;

use super::KeyPool;
use super::copies::Copies;
use super::error::BuildError;
use super::events::{KeyName, PoolEvent, ReturnedBy};
use super::list::List;
use super::new_key::NewKey;
use super::reason::{Cause, Reason};
use super::slot::Slot;
use super::state::{KeyState, Marked};

/// Which key of a pool is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyId<'a> {
    /// The one with this label.
    Label(&'a str),
    /// The one at this position, from 0.
    Position(usize),
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

/// Why a live pool was not changed. Nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// No key has this label or position.
    #[error("the pool holds no such key")]
    UnknownKey,
    /// More than one key has this label.
    #[error("the label is that of more than one key")]
    AmbiguousLabel,
    /// The list that would have come of it is none that a pool can be built of.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// What became of a pool's list of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyChanges {
    /// The keys that are new, in the pool's order.
    pub added: Vec<KeyName>,
    /// The keys that are gone, in the order that they had.
    pub removed: Vec<KeyName>,
    /// How many stayed, each in the state that it had.
    pub kept: usize,
}

impl KeyPool {
    /// Puts another list of keys in the place of the present one, at once and as a whole.
    ///
    /// A key that stays keeps its state, wherever it stands now and whatever label or group it has
    /// now. A new one starts valid. One that is gone is out from now on: no attempt starts with it,
    /// though one under way finishes; its text is wiped when the last handle goes. Put back later it
    /// is new.
    ///
    /// # Errors
    ///
    /// [`BuildError`], as when a pool is built. Nothing has changed then.
    pub fn replace_keys<I>(&self, keys: I) -> Result<KeyChanges, BuildError>
    where
        I: IntoIterator,
        I::Item: Into<NewKey>,
    {
        let keys = keys.into_iter().map(Into::into).collect();
        self.change(|_| Ok((Vec::new(), keys)))
    }

    /// Adds a key behind the others.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if the key is in the pool already, or is none. Nothing has changed then.
    pub fn add_key(&self, key: impl Into<NewKey>) -> Result<(), BuildError> {
        let key = key.into();
        self.change(|old| Ok((old.slots.to_vec(), vec![key])))
            .map(drop)
    }

    /// Takes a key out of the pool, as [`replace_keys`](Self::replace_keys) does.
    ///
    /// # Errors
    ///
    /// [`ChangeError`] if there is no such key, or it is the last. Nothing has changed then.
    pub fn remove_key<'a>(&self, key: impl Into<KeyId<'a>>) -> Result<(), ChangeError> {
        let key = key.into();
        self.change(|old| {
            let mut kept = old.slots.to_vec();
            kept.remove(find(old, key)?);
            Ok((kept, Vec::new()))
        })
        .map(drop)
    }

    /// Returns a key to service, whatever it was marked with, and its group with it. Whether it was
    /// out; where it was, marks of attempts that began before change nothing from now on.
    ///
    /// It is everyone's at once, without a [`ramp`](crate::KeyPoolBuilder::ramp).
    ///
    /// # Errors
    ///
    /// [`ChangeError`] if there is no such key.
    pub fn reinstate<'a>(&self, key: impl Into<KeyId<'a>>) -> Result<bool, ChangeError> {
        let list = self.inner.list();
        let slot = &list.slots[find(&list, key.into())?];
        let shared = &self.inner.shared;
        let mut was_out = false;
        for gate in slot.gates() {
            was_out |= gate.reinstate(&shared.rules);
        }
        if was_out {
            shared.tell(|| PoolEvent::Returned {
                key: slot.name(),
                by: ReturnedBy::Operator,
            });
        }
        // It may have been valid, and with another request.
        shared.line.stir();
        Ok(was_out)
    }

    /// Puts a key out for good, until it is reinstated: no trial returns it to service either.
    ///
    /// # Errors
    ///
    /// [`ChangeError`] if there is no such key.
    pub fn disable<'a>(&self, key: impl Into<KeyId<'a>>) -> Result<Marked, ChangeError> {
        let list = self.inner.list();
        let slot = &list.slots[find(&list, key.into())?];
        let marked = slot.core.gate.disable();
        slot.tell_mark(marked, KeyState::Permanent, Cause::of(Reason::Operator));
        // Who waits for it waits in vain.
        self.inner.shared.line.stir();
        Ok(marked)
    }

    /// Makes the next list out of what `edit` keeps of the present one and adds to it.
    ///
    /// It is told once others may change the list again: who is told may do so.
    fn change<E: From<BuildError>>(
        &self,
        edit: impl FnOnce(&List) -> Result<(Vec<Arc<Slot>>, Vec<NewKey>), E>,
    ) -> Result<KeyChanges, E> {
        let changing = self.inner.changing();
        let old = self.inner.list();
        let (kept, keys) = edit(&old)?;
        let changes = self.swap(&old, kept, keys)?;
        drop(changing);
        let shared = &self.inner.shared;
        shared.line.stir();
        if !changes.added.is_empty() || !changes.removed.is_empty() {
            shared.tell(|| PoolEvent::Changed {
                added: changes.added.clone(),
                removed: changes.removed.clone(),
            });
        }
        Ok(changes)
    }

    /// Puts a list of what is kept as it is and of `keys` in the place of the `old` one.
    fn swap(
        &self,
        old: &List,
        kept: Vec<Arc<Slot>>,
        keys: Vec<NewKey>,
    ) -> Result<KeyChanges, BuildError> {
        let new = List::make(kept, keys, &old.slots, &self.inner.shared)?;
        self.inner.copies.store(Arc::new(Copies::of(new)));
        let new = self.inner.list();
        let mut changes = KeyChanges {
            added: missing(&new, old).map(|slot| slot.name()).collect(),
            removed: Vec::new(),
            kept: 0,
        };
        for slot in missing(old, &new) {
            slot.core.gate.remove();
            changes.removed.push(slot.name());
        }
        changes.kept = new.slots.len() - changes.added.len();
        Ok(changes)
    }
}

/// The keys of one list that another one lacks.
fn missing<'a>(of: &'a List, other: &List) -> impl Iterator<Item = &'a Arc<Slot>> + use<'a> {
    let there: HashSet<_> = other
        .slots
        .iter()
        .map(|slot| Arc::as_ptr(&slot.core))
        .collect();
    of.slots
        .iter()
        .filter(move |slot| !there.contains(&Arc::as_ptr(&slot.core)))
}

fn find(list: &List, key: KeyId<'_>) -> Result<usize, ChangeError> {
    match key {
        KeyId::Position(at) if at < list.slots.len() => Ok(at),
        KeyId::Position(_) => Err(ChangeError::UnknownKey),
        KeyId::Label(label) => {
            let mut found =
                (0..list.slots.len()).filter(|at| list.slots[*at].label.as_deref() == Some(label));
            let at = found.next().ok_or(ChangeError::UnknownKey)?;
            match found.next() {
                None => Ok(at),
                Some(_) => Err(ChangeError::AmbiguousLabel),
            }
        }
    }
}
