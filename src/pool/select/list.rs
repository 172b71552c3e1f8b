//! The list of keys that a pool holds at a time, in order.

use std::collections::HashMap;
use std::sync::Arc;

use crate::pool::clock::{Clock, LazyNow};
use crate::pool::error::BuildError;
use crate::pool::key::Key;
use crate::pool::new_key::NewKey;
use crate::pool::pooled_key::{Group, KeyCore, PooledKey};
use crate::pool::secret::Secret;
use crate::pool::shared::Shared;
use crate::pool::state::{StateCell, is_valid};
use crate::sync::Arc as StateArc;

// Aligned, for the same reason as `PooledKey`.
#[repr(align(64))]
pub(in crate::pool) struct KeyList {
    pub(in crate::pool) keys: Box<[Arc<PooledKey>]>,
    cells: Box<[StateArc<StateCell>]>,
}

impl KeyList {
    /// A list of the `kept` keys, followed by `new` ones. New keys and groups that are in the `old`
    /// list continue with their state.
    pub(in crate::pool) fn build(
        kept: Vec<Arc<PooledKey>>,
        new: Vec<NewKey>,
        old: &[Arc<PooledKey>],
        shared: &Arc<Shared>,
    ) -> Result<Self, BuildError> {
        if kept.is_empty() && new.is_empty() {
            return Err(BuildError::NoKeys);
        }
        let mut parts = Vec::with_capacity(new.len());
        for (position, key) in (kept.len()..).zip(new) {
            let secret = Secret::new(key.text).ok_or(BuildError::InvalidKey { position })?;
            parts.push((secret, key.label, key.group));
        }
        let secrets = kept.iter().map(|key| &key.core.secret);
        let secrets = secrets.chain(parts.iter().map(|(secret, ..)| secret));
        if let Some((first, position)) = duplicate(secrets.map(|secret| Some(secret.expose()))) {
            return Err(BuildError::DuplicateKey { first, position });
        }
        let labels = kept.iter().map(|key| key.label.as_deref());
        let labels = labels.chain(parts.iter().map(|(_, label, _)| label.as_deref()));
        if let Some((first, position)) = duplicate(labels) {
            return Err(BuildError::DuplicateLabel { first, position });
        }

        let known: HashMap<&str, &Arc<PooledKey>> = old
            .iter()
            .map(|key| (key.core.secret.expose(), key))
            .collect();
        let mut groups: HashMap<Arc<str>, Arc<Group>> = old
            .iter()
            .filter_map(|key| key.group.clone())
            .map(|group| (Arc::clone(&group.name), group))
            .collect();
        let make_key = |(secret, label, group): (Secret, _, Option<Arc<str>>)| {
            let group = group.map(|name| {
                let group = groups.entry(Arc::clone(&name));
                Arc::clone(group.or_insert_with(|| Arc::new(Group::new(name))))
            });
            let core = match known.get(secret.expose()) {
                Some(key) => Arc::clone(&key.core),
                None => Arc::new(KeyCore::new(secret, shared.config.track_usage)),
            };
            let shared = Arc::clone(shared);
            Arc::new(PooledKey {
                core,
                label,
                group,
                shared,
            })
        };
        let keys = kept
            .into_iter()
            .chain(parts.into_iter().map(make_key))
            .collect();
        Ok(Self::of(keys))
    }

    fn of(keys: Box<[Arc<PooledKey>]>) -> Self {
        let cells = keys.iter().map(|key| key.core.limit.cell());
        let cells = cells.map(StateArc::clone).collect();
        Self { keys, cells }
    }

    /// A copy of the list, whose keys have reference counts of their own.
    pub(super) fn duplicate(&self) -> Self {
        let keys = self.keys.iter();
        Self::of(keys.map(|key| Arc::new(PooledKey::clone(key))).collect())
    }

    /// A handle to the key at `at`, whatever its state.
    #[inline]
    pub(in crate::pool) fn handle(&self, at: usize) -> Key {
        Key::new(&self.keys[at], at)
    }

    /// The position of the first key from `from` on that is valid, apart from its group.
    #[inline]
    pub(super) fn next_open(&self, from: usize, clock: Clock, now: &mut LazyNow) -> Option<usize> {
        let mut cells = self.cells[from..].iter();
        let skipped = cells.position(|cell| is_valid(cell.state.load(), clock, now))?;
        Some(from + skipped)
    }
}

/// The positions of the first two equal texts.
fn duplicate<'a>(texts: impl Iterator<Item = Option<&'a str>>) -> Option<(usize, usize)> {
    let mut seen = HashMap::new();
    let mut texts = texts.enumerate();
    texts.find_map(|(position, text)| Some((seen.insert(text?, position)?, position)))
}
