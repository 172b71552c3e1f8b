//! Making a list of keys, whether it is the first or the next.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::BuildError;
use super::gate::Gate;
use super::list::List;
use super::new_key::NewKey;
use super::secret::Secret;
use super::shared::Shared;
use super::slot::{Core, Group, Slot};
use super::usage::Usage;
use super::words::WordRef;

impl List {
    /// A list of what is `kept` as it is, and of `keys` behind that. Keys and groups that stood in
    /// the `old` one are the same as there.
    pub(super) fn make(
        kept: Vec<Arc<Slot>>,
        keys: Vec<NewKey>,
        old: &[Arc<Slot>],
        shared: &Arc<Shared>,
    ) -> Result<Self, BuildError> {
        if kept.is_empty() && keys.is_empty() {
            return Err(BuildError::NoKeys);
        }
        let mut parts = Vec::with_capacity(keys.len());
        for (position, key) in (kept.len()..).zip(keys) {
            let secret = Secret::new(key.text).ok_or(BuildError::InvalidKey { position })?;
            parts.push((secret, key.label, key.group));
        }
        let secrets = kept.iter().map(|slot| &slot.core.secret);
        refuse_duplicates(secrets.chain(parts.iter().map(|(secret, ..)| secret)))?;

        let mut words = WordRef::block(parts.len());
        let known: HashMap<&str, &Arc<Slot>> = old
            .iter()
            .map(|slot| (slot.core.secret.expose(), slot))
            .collect();
        let mut groups: HashMap<Arc<str>, Arc<Group>> = old
            .iter()
            .filter_map(|slot| slot.group.clone())
            .map(|group| (Arc::clone(&group.name), group))
            .collect();
        let make_slot = |(secret, label, group): (Secret, _, Option<Arc<str>>)| {
            let group = group.map(|name| {
                let group = groups.entry(Arc::clone(&name));
                Arc::clone(group.or_insert_with(|| Arc::new(Group::new(name))))
            });
            let core = match known.get(secret.expose()) {
                Some(slot) => {
                    slot.leave_for(group.as_ref());
                    Arc::clone(&slot.core)
                }
                None => {
                    let word = words.next().expect("one for each key");
                    Arc::new(Core::new(secret, word, shared.rules.track_usage))
                }
            };
            let shared = Arc::clone(shared);
            Arc::new(Slot {
                core,
                label,
                group,
                shared,
            })
        };
        let slots = kept
            .into_iter()
            .chain(parts.into_iter().map(make_slot))
            .collect();
        Ok(Self::of(slots))
    }
}

impl Slot {
    /// The key belongs to `next` from now on: it keeps the state that its group gave it.
    fn leave_for(&self, next: Option<&Arc<Group>>) {
        if let Some(group) = &self.group {
            if !next.is_some_and(|next| Arc::ptr_eq(next, group)) {
                self.core
                    .gate
                    .stay_out_with(&group.gate, &self.shared.rules);
            }
        }
    }
}

impl Core {
    fn new(secret: Secret, word: WordRef, track_usage: bool) -> Self {
        Self {
            gate: Gate::of(word),
            secret,
            usage: track_usage.then(|| Box::new(Usage::new())),
        }
    }
}

impl Group {
    fn new(name: Arc<str>) -> Self {
        let gate = Gate::new();
        Self { name, gate }
    }
}

fn refuse_duplicates<'a>(secrets: impl Iterator<Item = &'a Secret>) -> Result<(), BuildError> {
    let mut seen = HashMap::new();
    for (position, secret) in secrets.enumerate() {
        if let Some(first) = seen.insert(secret.expose(), position) {
            return Err(BuildError::DuplicateKey { first, position });
        }
    }
    Ok(())
}
