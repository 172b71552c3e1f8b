//! What a request asks of the pool: a key, why there is none, and what to wait for.

use std::sync::Arc;
use std::time::Duration;

use super::KeyPool;
use super::clock::LazyNow;
use super::error::Exhausted;
use super::key::Key;
use super::key_choice::KeyChoice;
use super::observe::PoolEvent;
use super::pooled_key::PooledKey;
use super::queue::{Outlook, Waiter, Wants};
use super::select::{KeyList, Pick, PickRequest, Selector, exhausted};
use super::state::LimitConfig;
use crate::sync::now;

impl KeyPool {
    /// The key for the next attempt of a request that has `tried` some keys.
    ///
    /// Borrows the list, so that only the reference count of the picked key changes.
    #[inline]
    pub(crate) fn pick<'a>(
        &self,
        request: PickRequest<'a>,
        tried: impl Iterator<Item = &'a Key> + Clone,
    ) -> Option<Pick> {
        let shards = self.shards.load();
        self.selector(shards.own(), request, excluded(request.choice, tried))
            .pick()
    }

    /// Whether a request that uses `key` can continue with another key.
    pub(crate) fn has_more<'a>(
        &self,
        key: &Key,
        request: PickRequest<'a>,
        tried: impl Iterator<Item = &'a Key> + Clone,
    ) -> bool {
        let shards = self.shards.load();
        self.selector(shards.own(), request, excluded(request.choice, tried))
            .has_more(key)
    }

    #[inline]
    fn selector<'a, F: Fn(&PooledKey) -> bool>(
        &'a self,
        list: &'a KeyList,
        request: PickRequest<'a>,
        tried: F,
    ) -> Selector<'a, F> {
        Selector::new(list, &self.shared, request, tried)
    }

    /// Why no key is usable now for a request with this choice. The `excluded` keys do not count.
    pub(crate) fn exhausted<'a>(
        &self,
        choice: Option<&'a KeyChoice>,
        excluded_keys: impl Iterator<Item = &'a Key> + Clone,
    ) -> Exhausted {
        let shards = self.shards.load();
        let excludes = excluded(choice, excluded_keys);
        exhausted(shards.own(), choice, excludes, &mut LazyNow::default())
    }

    /// How many of the `tried` keys are no longer in the list.
    pub(crate) fn count_replaced<'a>(&self, tried: impl Iterator<Item = &'a Key>) -> usize {
        let shards = self.shards.load();
        let keys = &shards.own().keys;
        let is_replaced = |tried: &&Key| !keys.iter().any(|key| tried.is_handle_of(key));
        tried.filter(is_replaced).count()
    }

    /// What a request with this choice can wait for. The `excluded` keys do not count.
    pub(crate) fn outlook<'a>(
        &self,
        choice: Option<&'a KeyChoice>,
        excluded_keys: impl Iterator<Item = &'a Key> + Clone,
    ) -> Outlook {
        let shards = self.shards.load();
        let excludes = excluded(choice, excluded_keys);
        outlook(shards.own(), choice, excludes, &mut LazyNow::default())
    }

    /// A key, as [`pick`](Self::pick) returns it. Otherwise, what the request can wait for, as of the
    /// same moment.
    pub(crate) fn pick_or_wait<'a>(
        &self,
        request: PickRequest<'a>,
        tried: impl Iterator<Item = &'a Key> + Clone,
    ) -> Result<Pick, Outlook> {
        let shards = self.shards.load();
        let list = shards.own();
        let excludes = || excluded(request.choice, tried.clone());
        let mut selector = self.selector(list, request, excludes());
        // Both use the same time. Nothing would wake a waiter for a key that reopened in between.
        selector
            .pick()
            .ok_or_else(|| outlook(list, request.choice, excludes(), &mut selector.now()))
    }

    /// Reports that no key is left for a request.
    pub(crate) fn emit_exhausted(&self, exhausted: Exhausted) {
        self.shared.on_event(|| PoolEvent::Exhausted { exhausted });
    }

    /// Joins the wait queue for at most `time`, unless it is full. The request cannot use the
    /// `excluded` keys.
    pub(crate) fn join_queue<'a>(
        &self,
        request: PickRequest<'a>,
        excluded: impl Iterator<Item = &'a Key>,
        time: Duration,
    ) -> Option<Waiter> {
        let wants = Wants {
            excluded: excluded.map(|key| key.pooled().id()).collect(),
            choice: request.choice.cloned(),
            has_probed: request.has_probed,
        };
        Waiter::join(&self.shared.queue, wants, now() + time)
    }
}

/// Whether one of `keys` is a handle to a given key, or the choice does not allow that key.
fn excluded<'a>(
    choice: Option<&'a KeyChoice>,
    keys: impl Iterator<Item = &'a Key> + Clone,
) -> impl Fn(&PooledKey) -> bool {
    move |key| {
        keys.clone().any(|handle| handle.is_handle_of(key))
            || choice.is_some_and(|choice| !choice.allows(key))
    }
}

fn outlook(
    list: &KeyList,
    choice: Option<&KeyChoice>,
    excluded: impl Fn(&PooledKey) -> bool,
    now: &mut LazyNow,
) -> Outlook {
    let exhausted = exhausted(list, choice, &excluded, now);
    let config = list.keys[0].limit_config();
    let probes = list.keys.iter().filter(|key| !excluded(key));
    let pool_due = pool_probe_in(probes, config, now);
    let keys = list.keys.iter().filter(|key| !excluded(key));
    let scope = choice.and_then(KeyChoice::scope_ref);
    let keys = keys.map(|key| {
        let limits = key.limits_for(scope);
        (limits.state(now), limits.due_in(now))
    });
    Outlook::new(exhausted, keys, pool_due)
}

/// How long until the pool can be probed with one of the permanently marked `keys`. A key whose group cools
/// down cannot be probed before its group reopens.
fn pool_probe_in<'a>(
    keys: impl Iterator<Item = &'a Arc<PooledKey>>,
    config: &LimitConfig,
    now: &mut LazyNow,
) -> Option<Duration> {
    config.probes.after?;
    let groups = keys
        .filter(|key| key.core.limit.is_permanent())
        .filter_map(|key| key.group.as_deref());
    let reopens = groups.filter_map(|group| group.limit.due_in(config, now));
    let reopens = reopens.filter(|reopens| !reopens.is_zero()).min();
    config.pool_probe_in(now).into_iter().chain(reopens).min()
}
