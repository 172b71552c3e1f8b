//! The list of keys that a pool holds at a time, in order.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::check::check;
use super::rank::Ranking;
use super::turns::Turns;
use crate::pool::clock::{Clock, LazyNow};
use crate::pool::error::BuildError;
use crate::pool::key::Key;
use crate::pool::key_settings::KeySettings;
use crate::pool::new_key::NewKey;
use crate::pool::pooled_key::{Group, KeyCore, PooledKey};
use crate::pool::secret::Secret;
use crate::pool::shared::Shared;
use crate::pool::state::{LimitConfig, StateCell, is_valid};
use crate::sync::Arc as StateArc;

// Aligned, for the same reason as `PooledKey`.
#[repr(align(64))]
pub(in crate::pool) struct KeyList {
    pub(in crate::pool) keys: Box<[Arc<PooledKey>]>,
    cells: Box<[StateArc<StateCell>]>,
    pub(super) ranking: Arc<Ranking>,
    /// `None`: the keys do not take turns.
    pub(super) turns: Option<Turns>,
    /// The first key, if every request without a choice uses it whenever its own limit is open.
    pub(super) plain_first: Option<Arc<PooledKey>>,
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
        let mut parts = Vec::with_capacity(new.len());
        for (position, key) in (kept.len()..).zip(new) {
            let secret = Secret::new(key.text)
                .map_err(|problem| BuildError::InvalidKey { position, problem })?;
            parts.push((Arc::new(secret), Arc::new(key.settings)));
        }
        let all = kept.iter().map(|key| (&key.secret, &key.settings));
        let all: Vec<_> = all
            .chain(parts.iter().map(|(secret, settings)| (secret, settings)))
            .collect();
        check(
            all.iter()
                .map(|(secret, settings)| (&***secret, &***settings)),
        )?;

        let known: HashMap<&str, &Arc<PooledKey>> =
            old.iter().map(|key| (key.secret.expose(), key)).collect();
        let mut groups: HashMap<Arc<str>, Arc<Group>> = old
            .iter()
            .filter_map(|key| key.group.clone())
            .map(|group| (Arc::clone(&group.name), group))
            .collect();
        let make_key = |(secret, settings): (Arc<Secret>, Arc<KeySettings>)| {
            let group = settings.group.as_ref().map(|name| {
                let group = groups.entry(Arc::clone(name));
                Arc::clone(group.or_insert_with(|| Arc::new(Group::new(Arc::clone(name)))))
            });
            let core = match known.get(secret.expose()) {
                Some(key) => Arc::clone(&key.core),
                None => Arc::new(KeyCore::new(&secret, shared.config.track_usage)),
            };
            Arc::new(PooledKey::new(core, secret, settings, group, shared))
        };
        let keys: Box<[_]> = kept
            .into_iter()
            .chain(parts.into_iter().map(make_key))
            .collect();
        let ranking = Ranking::new(shared.config.selection, &keys);
        Ok(Self::of(keys, Arc::new(ranking), 0.0))
    }

    /// The list as one shard uses it. Its search begins at `start`, as a share of its keys.
    fn of(keys: Box<[Arc<PooledKey>]>, ranking: Arc<Ranking>, start: f64) -> Self {
        let cells = keys.iter().map(|key| key.core.limit.cell());
        let cells = cells.map(StateArc::clone).collect();
        let turns = ranking.turns((start * keys.len() as f64) as usize);
        let is_plain = |key: &&Arc<PooledKey>| key.group.is_none() && key.capacities.is_none();
        let plain_first = Some(&keys[0])
            .filter(|_| ranking.begins_with_first())
            .filter(is_plain)
            .cloned();
        Self {
            keys,
            cells,
            ranking,
            turns,
            plain_first,
        }
    }

    /// A copy of the list, whose keys have reference counts of their own, and whose turns are its own.
    pub(super) fn duplicate(&self, start: f64) -> Self {
        let keys = self.keys.iter();
        let keys = keys.map(|key| Arc::new(PooledKey::clone(key))).collect();
        Self::of(keys, Arc::clone(&self.ranking), start)
    }

    /// A handle to the key at `at`, whatever its state.
    #[inline]
    pub(in crate::pool) fn handle(&self, at: usize) -> Key {
        Key::new(&self.keys[at], at)
    }

    /// The position of the first key in a part of the list that is valid, apart from its group. Of keys
    /// that are open and not suspected, it passes over those that `skips` names.
    #[inline]
    pub(super) fn next_open(
        &self,
        part: Range<usize>,
        clock: Clock,
        now: &mut LazyNow,
        skips: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        for (at, cell) in (part.start..).zip(&self.cells[part]) {
            let state = cell.state.load();
            if is_valid(state, clock, now) && !(state.is_open() && skips(at)) {
                return Some(at);
            }
        }
        None
    }

    /// The position of the first key in a part of the list that is valid or due for a probe, apart from
    /// its group. `soonest` becomes the earliest time at which a key is due that was skipped.
    pub(super) fn next_open_or_due(
        &self,
        part: Range<usize>,
        config: &LimitConfig,
        now: &mut LazyNow,
        soonest: &mut u64,
    ) -> Option<usize> {
        let from = part.start;
        let mut cells = self.cells[part].iter();
        let skipped = cells.position(|cell| {
            let state = cell.state.load();
            if is_valid(state, config.clock, now) {
                return true;
            }
            let due = cell.probe_due_at(state, config);
            let is_due = due != 0 && config.clock.has_come(due, now);
            if due != 0 && !is_due {
                *soonest = due.min(*soonest);
            }
            is_due
        })?;
        Some(from + skipped)
    }
}
