//! Picking a key for one attempt: the usable key of the lowest rank.

use super::list::KeyList;
use super::probe_order::{ProbeSearch, probe_without_alternative};
use super::rank::Rank;
use super::rendezvous::Session;
use super::turns::Turns;
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
use crate::pool::state::{Availability, LimitConfig, Terms};

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
    queue: &'a WaitQueue,
    pub(super) tried: F,
    pub(super) now: LazyNow,
}

/// The result of one search.
enum Search {
    Found(Found),
    Nothing,
    /// The key that was found was marked, or another request took its last place.
    Lost,
}

/// A usable key.
#[derive(Clone, Copy)]
struct Candidate {
    at: usize,
    rank: Rank,
    is_reopening: bool,
}

struct Found {
    at: usize,
    probe: Option<Box<Probe>>,
    /// Whether the search passed another usable key.
    has_more: bool,
    /// The keys that the search did not look at.
    rest: Walk,
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
            && let Some(key) = Key::if_open(first)
        {
            return Some(Pick {
                key: key.for_scope(self.scope()),
                probe: None,
                has_more: self.has_usable_spare(),
                in_flight: None,
            });
        }
        loop {
            match self.search() {
                Search::Found(found) => {
                    // Dropped with its probe if the key has reached its cap, or was marked since.
                    if let Ok(in_flight) = InFlight::begin(&self.list.keys[found.at])
                        && let Some(key) = self.handle(&found)
                    {
                        return Some(self.use_key(found, key, in_flight));
                    }
                }
                Search::Nothing => return None,
                // Another request was faster.
                Search::Lost => {}
            }
        }
    }

    /// A handle to the key that was found, unless the key was open then and is marked now. The request
    /// would prove that the mark has ended, although it began before it.
    fn handle(&self, found: &Found) -> Option<Key> {
        let key = self.list.handle(found.at);
        let is_as_found = found.probe.is_some() || key.has_seen_no_mark();
        is_as_found.then(|| key.for_scope(self.scope()))
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

    fn search(&mut self) -> Search {
        let session = self.request.choice.and_then(KeyChoice::session);
        let session = session.map(Session::new);
        let may_probe = self.request.can_continue && !self.request.has_probed;
        let mut probes = ProbeSearch::begin(self.config, may_probe, &mut self.now);
        // The best usable key so far.
        let mut best: Option<Candidate> = None;
        // A reopening key without room: only for a request without an alternative.
        let mut full = None;
        // How many usable keys the search has passed, with those that it leaves to other requests.
        let mut available = 0_usize;
        let start = self.list.turns.as_ref().map_or(0, Turns::start);
        let mut walk = Walk::new(start, self.list.keys.len());
        while let Some(at) = self.next(&mut walk, probes.sweep()) {
            let key = &self.list.keys[at];
            // It can only come after the best one, so nothing else matters.
            if let Some(best) = best
                && key.is_open()
                && !(self.tried)(key)
                && best.rank <= self.rank(at, session)
            {
                available += 1;
                continue;
            }
            let limits = key.limits_for(self.scope());
            let availability = limits.availability(&mut self.now);
            if availability >= Availability::ProbeDue {
                let can_probe = availability == Availability::ProbeDue
                    && !(self.tried)(key)
                    && limits.has_room(&mut self.now)
                    && !key.is_at_cap();
                probes.pass_closed(at, key, can_probe);
                continue;
            }
            if (self.tried)(key) {
                continue;
            }
            available += 1;
            // Waiters may have been woken for the places below the cap.
            if key.is_at_cap() || key.is_capped() && self.is_left_to_waiters(key) {
                continue;
            }
            let is_reopening = availability == Availability::Reopening;
            if is_reopening && (self.is_left_to_waiters(key) || !limits.has_room(&mut self.now)) {
                full = full.or(Some(at));
                continue;
            }
            let rank = self.rank(at, session);
            if best.is_none_or(|best| rank < best.rank) {
                best = Some(Candidate {
                    at,
                    rank,
                    is_reopening,
                });
            }
            if self.list.ranking.is_lowest(&rank) {
                break;
            }
            if rank.is_suspected() {
                probes.pass_suspected(at, key, &mut self.now);
            }
        }
        let is_trusted = best.is_some_and(|best| !best.rank.is_suspected());
        probes.end(self.config, is_trusted, &mut self.now);
        let found = |at, probe, has_more| {
            Search::Found(Found {
                at,
                probe,
                has_more,
                rest: walk,
            })
        };
        let full = full.filter(|_| self.request.may_exceed);
        if let Some(alternative) = best.map(|best| best.at).or(full) {
            let candidates = probes.candidates(is_trusted);
            for at in candidates.filter(|at| *at != alternative) {
                if let Some(probe) = self.take(at, Terms::ProbeIfDue) {
                    return found(at, Some(probe), true);
                }
            }
        }
        match (best, full) {
            (Some(best), _) if !best.is_reopening => found(best.at, None, available > 1),
            (Some(best), _) => match self.take(best.at, Terms::Usable) {
                Some(probe) => found(best.at, Some(probe), available > 1),
                None => Search::Lost,
            },
            (None, Some(full)) => match self.take(full, Terms::Exceeding) {
                Some(probe) => found(full, Some(probe), available > 1),
                None => Search::Lost,
            },
            (None, None) => match probe_without_alternative(self) {
                Some((at, probe)) => found(at, Some(probe), false),
                None => Search::Nothing,
            },
        }
    }

    /// Whether the request does not choose between keys, and no scope of the key is marked.
    #[inline]
    fn is_free_to_use(&self, key: &PooledKey) -> bool {
        let choice = self.request.choice;
        choice.is_none_or(|choice| choice.is_only_scope() && key.core.scopes.is_unused())
    }

    fn is_left_to_waiters(&self, key: &PooledKey) -> bool {
        self.request.yields_to_waiters && self.queue.has_waiter_for(key)
    }

    fn take(&mut self, at: usize, terms: Terms) -> Option<Box<Probe>> {
        Probe::take(&self.list.keys[at], self.scope(), terms, &mut self.now)
    }

    /// Whether the request can use or probe another key than `key`.
    pub(in crate::pool) fn has_more(&mut self, key: &Key) -> bool {
        let walk = Walk::new(0, self.list.keys.len());
        self.has_usable(walk, Some(key), !self.request.has_probed)
    }

    /// The rank of a usable key.
    fn rank(&self, at: usize, session: Option<Session>) -> Rank {
        let KeyList {
            keys,
            ranking,
            turns,
            ..
        } = self.list;
        let key = &keys[at];
        let in_flight = || key.in_flight().unwrap_or_default();
        ranking.rank(at, key.suspicions(), session, turns.as_ref(), in_flight)
    }

    /// Whether the request can use another key than the first.
    #[inline]
    fn has_usable_spare(&mut self) -> bool {
        match self.list.keys.get(1) {
            None => false,
            // The usual case.
            Some(second)
                if self.is_free_to_use(second) && second.is_open() && !(self.tried)(second) =>
            {
                true
            }
            Some(_) => self.has_usable(Walk::to_end(1, self.list.keys.len()), None, true),
        }
    }

    /// Whether the keys of `walk` include one that the request can use or probe. One at its cap
    /// counts, because it may have room when it is needed.
    fn has_usable(&mut self, mut walk: Walk, except: Option<&Key>, may_probe: bool) -> bool {
        let is_other = |key: &PooledKey| !except.is_some_and(|except| except.is_handle_of(key));
        let looks_for_probes =
            may_probe && self.config.probes.after.is_some() && self.is_any_probe_due();
        let mut soonest = u64::MAX;
        while let Some(at) = self.next(&mut walk, looks_for_probes.then_some(&mut soonest)) {
            let key = &self.list.keys[at];
            let limits = key.limits_for(self.scope());
            let is_usable = match limits.availability(&mut self.now) {
                Availability::Open | Availability::Reopening => true,
                Availability::ProbeDue => may_probe,
                Availability::Closed => false,
            };
            if is_usable && is_other(key) && !(self.tried)(key) {
                return true;
            }
        }
        false
    }

    fn is_any_probe_due(&mut self) -> bool {
        let earliest = self.config.pool_probes.earliest_due();
        earliest != u64::MAX && self.config.clock.has_come(earliest, &mut self.now)
    }

    /// The position of the next key of `walk` that may be usable. A search that sweeps also looks at
    /// closed keys that are due for a probe, and learns when the others are due.
    #[inline]
    fn next(&mut self, walk: &mut Walk, sweep: Option<&mut u64>) -> Option<usize> {
        let Self {
            list, config, now, ..
        } = self;
        match sweep {
            None => walk.next(|from| list.next_open(from, config.clock, now)),
            Some(soonest) => walk.next(|from| list.next_open_or_due(from, config, now, soonest)),
        }
    }
}
