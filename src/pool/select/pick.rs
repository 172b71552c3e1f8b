//! Picking a key for one attempt: the usable key of the lowest rank.

use super::list::KeyList;
use super::search::{Found, Searched};
use super::walk::Walk;
use crate::pool::clock::LazyNow;
use crate::pool::in_flight::InFlight;
use crate::pool::key::Key;
use crate::pool::key_choice::KeyChoice;
use crate::pool::pooled_key::PooledKey;
use crate::pool::probe::Probe;
use crate::pool::queue::WaitQueue;
use crate::pool::scope::Scope;
use crate::pool::shared::Shared;
use crate::pool::state::LimitConfig;

/// What the pool has to know about a request that needs a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PickRequest<'a> {
    /// The session that it belongs to, and the keys that it may use, if the caller says so.
    pub(crate) choice: Option<&'a KeyChoice>,
    /// Whether it can continue with another key if this one is refused.
    pub(crate) can_continue: bool,
    /// Whether it has probed a key. A request probes at most one.
    pub(crate) has_probed: bool,
    /// Whether it leaves the scarce places of a reopening key to waiters, because it may join them.
    pub(crate) yields_to_waiters: bool,
    /// Whether it may use a reopening key beyond its allowance if it has no other key: it may not wait,
    /// and no key has refused it yet.
    pub(crate) may_exceed: bool,
}

/// A key for one attempt.
pub(crate) struct Pick {
    pub(crate) key: Key,
    /// What the attempt holds of the key, if the key is not fully open.
    pub(crate) probe: Option<Box<Probe>>,
    /// Whether the request can use another key as well.
    pub(crate) has_more: bool,
    /// Counts the request, if the requests in flight with the key are counted. It is kept until the
    /// response body ends.
    pub(crate) in_flight: Option<InFlight>,
}

/// Selects keys from a list for one request, which has `tried` some of them.
pub(in crate::pool) struct Selector<'a, F> {
    pub(super) list: &'a KeyList,
    pub(super) config: &'a LimitConfig,
    pub(super) request: PickRequest<'a>,
    pub(super) queue: &'a WaitQueue,
    pub(super) tried: F,
    pub(super) now: LazyNow,
}

impl<'a, F: Fn(&PooledKey) -> bool> Selector<'a, F> {
    #[inline]
    pub(in crate::pool) fn new(
        list: &'a KeyList,
        shared: &'a Shared,
        request: PickRequest<'a>,
        tried: F,
    ) -> Self {
        Self {
            list,
            config: &shared.config.limits,
            request,
            queue: &shared.queue,
            tried,
            now: LazyNow::default(),
        }
    }

    /// The time of the search. A later look at the same list uses it, so that no key reopens in
    /// between.
    pub(in crate::pool) fn now(&self) -> LazyNow {
        self.now
    }

    /// The scope of the request.
    pub(super) fn scope(&self) -> Option<&'a Scope> {
        self.request.choice.and_then(KeyChoice::scope_ref)
    }

    /// The key that the request uses next.
    #[inline]
    pub(in crate::pool) fn pick(&mut self) -> Option<Pick> {
        // The usual case.
        if let Some(first) = &self.list.plain_first
            && self.is_free_to_use(first)
            && !(self.tried)(first)
            && let Some(key) = Key::if_open(first).map(|key| key.for_scope(self.scope()))
            && key.has_seen_no_mark()
        {
            return Some(Pick {
                key,
                probe: None,
                has_more: self.has_usable_spare(),
                in_flight: None,
            });
        }
        loop {
            match self.search() {
                Searched::Found(found) => {
                    // Dropped with its probe if the key has reached its cap, or was marked since.
                    if let Ok(in_flight) = InFlight::begin(&self.list.keys[found.at])
                        && let Some(key) = self.handle(&found)
                    {
                        return Some(self.use_key(found, key, in_flight));
                    }
                }
                Searched::Nothing => return None,
                // Another request was faster.
                Searched::Lost => {}
            }
        }
    }

    /// A handle to the key that was found, unless the key was open then and is marked now. The request
    /// would prove that the mark has ended, although it began before it.
    fn handle(&self, found: &Found) -> Option<Key> {
        let key = self.list.handle(found.at).for_scope(self.scope());
        (found.probe.is_some() || key.has_seen_no_mark()).then_some(key)
    }

    fn use_key(&mut self, found: Found, key: Key, in_flight: Option<InFlight>) -> Pick {
        let Found {
            at,
            probe,
            has_more,
            rest,
        } = found;
        if let Some(turns) = &self.list.turns {
            turns.take(at, self.list.ranking.stride(at));
        }
        let is_probe = probe.as_deref().is_some_and(Probe::is_of_doubtful_key);
        let may_probe = !is_probe && !self.request.has_probed;
        Pick {
            key,
            probe,
            has_more: has_more || self.has_usable(rest, None, may_probe),
            in_flight,
        }
    }

    /// Whether the request does not choose between keys, and no scope of the key is marked.
    #[inline]
    pub(super) fn is_free_to_use(&self, key: &PooledKey) -> bool {
        let choice = self.request.choice;
        choice.is_none_or(|choice| choice.is_only_scope() && key.core.scopes.is_unused())
    }

    /// The position of the next key of `walk` that is valid, apart from its group. Of keys that are open
    /// and not suspected, it passes over those that `skips` names.
    #[inline]
    pub(super) fn next_open(
        &mut self,
        walk: &mut Walk,
        skips: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let (list, clock, now) = (self.list, self.config.clock, &mut self.now);
        walk.next(|part| list.next_open(part, clock, now, &skips))
    }

    /// The position of the next key of `walk` that is valid or due for a probe, apart from its group.
    /// `soonest` becomes the earliest time at which a key is due that was passed over.
    #[inline]
    pub(super) fn next_open_or_due(&mut self, walk: &mut Walk, soonest: &mut u64) -> Option<usize> {
        let (list, config, now) = (self.list, self.config, &mut self.now);
        walk.next(|part| list.next_open_or_due(part, config, now, soonest))
    }
}
