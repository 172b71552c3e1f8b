//! Picking a key for one attempt: the usable key with the fewest suspicions, and among those the first
//! one.

use super::list::KeyList;
use super::probe_order::{ProbeSearch, probe_without_alternative};
use crate::pool::clock::LazyNow;
use crate::pool::key::Key;
use crate::pool::pooled_key::PooledKey;
use crate::pool::probe::Probe;
use crate::pool::state::{Availability, LimitConfig, Terms};

/// What the pool has to know about a request that needs a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PickRequest {
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
}

/// Selects keys from a list for one request, which has `tried` some of them.
pub(in crate::pool) struct Selector<'a, F> {
    pub(super) list: &'a KeyList,
    pub(super) config: &'a LimitConfig,
    pub(super) request: PickRequest,
    /// Whether a reopening key is left to requests in the wait queue.
    yields_to_waiters: bool,
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
    suspicions: u32,
    is_reopening: bool,
}

struct Found {
    at: usize,
    probe: Option<Box<Probe>>,
    /// Whether the search passed another usable key.
    has_more: bool,
    /// The position of the first key that the search did not look at.
    rest: usize,
}

impl<'a, F: Fn(&PooledKey) -> bool> Selector<'a, F> {
    #[inline]
    pub(in crate::pool) fn new(
        list: &'a KeyList,
        config: &'a LimitConfig,
        request: PickRequest,
        yields_to_waiters: bool,
        tried: F,
    ) -> Self {
        Self {
            list,
            config,
            request,
            yields_to_waiters,
            tried,
            now: LazyNow::default(),
        }
    }

    /// The time of the search. A later look at the same list uses it, so that no key reopens in
    /// between.
    pub(in crate::pool) fn now(&self) -> LazyNow {
        self.now
    }

    /// The key that the request uses next.
    #[inline]
    pub(in crate::pool) fn pick(&mut self) -> Option<Pick> {
        let first = &self.list.keys[0];
        // The usual case.
        if first.is_open() && !(self.tried)(first) {
            return Some(Pick {
                key: self.list.handle(0),
                probe: None,
                has_more: self.has_usable_from(1, None, true),
            });
        }
        let Found {
            at,
            probe,
            has_more,
            rest,
        } = loop {
            match self.search() {
                Search::Found(found) => break found,
                Search::Nothing => return None,
                // Another request was faster.
                Search::Lost => {}
            }
        };
        let is_probe = probe.as_deref().is_some_and(Probe::is_of_doubtful_key);
        let may_probe = !is_probe && !self.request.has_probed;
        Some(Pick {
            key: self.list.handle(at),
            probe,
            has_more: has_more || self.has_usable_from(rest, None, may_probe),
        })
    }

    fn search(&mut self) -> Search {
        let may_probe = self.request.can_continue && !self.request.has_probed;
        let mut probes = ProbeSearch::begin(self.config, may_probe, &mut self.now);
        // The usable key with the fewest suspicions so far.
        let mut best: Option<Candidate> = None;
        // A reopening key without room: only for a request without an alternative.
        let mut full = None;
        // How many usable keys the search has passed, with those that it leaves to other requests.
        let mut available = 0_usize;
        let mut next = 0;
        while let Some(at) = self.next(next, probes.sweeps) {
            next = at + 1;
            let key = &self.list.keys[at];
            let availability = key.availability(&mut self.now);
            if availability >= Availability::ProbeDue {
                let can_probe = availability == Availability::ProbeDue
                    && !(self.tried)(key)
                    && key.has_room(&mut self.now);
                probes.pass_closed(at, key, can_probe);
                continue;
            }
            if (self.tried)(key) {
                continue;
            }
            available += 1;
            let is_reopening = availability == Availability::Reopening;
            if is_reopening && (self.yields_to_waiters || !key.has_room(&mut self.now)) {
                full = full.or(Some(at));
                continue;
            }
            let suspicions = key.suspicions();
            if best.is_none_or(|best| suspicions < best.suspicions) {
                best = Some(Candidate {
                    at,
                    suspicions,
                    is_reopening,
                });
            }
            if suspicions == 0 {
                break;
            }
            probes.pass_suspected(at, key, &mut self.now);
        }
        let is_trusted = best.is_some_and(|best| best.suspicions == 0);
        probes.end(self.config, is_trusted, &mut self.now);
        let found = |at, probe, has_more| {
            Search::Found(Found {
                at,
                probe,
                has_more,
                rest: next,
            })
        };
        let full = full.filter(|_| self.request.may_exceed);
        if let Some(alternative) = best.map(|best| best.at).or(full) {
            let candidates = probes.candidates(is_trusted);
            for at in candidates.filter(|at| *at != alternative) {
                if let Some(probe) = self.take(at, Terms::Regular) {
                    return found(at, Some(probe), true);
                }
            }
        }
        match (best, full) {
            (Some(best), _) if !best.is_reopening => found(best.at, None, available > 1),
            (Some(best), _) => match self.take(best.at, Terms::Regular) {
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

    fn take(&mut self, at: usize, terms: Terms) -> Option<Box<Probe>> {
        Probe::take(&self.list.keys[at], terms, &mut self.now)
    }

    /// Whether the request can use or probe another key than `key`.
    pub(in crate::pool) fn has_more(&mut self, key: &Key) -> bool {
        self.has_usable_from(0, Some(key), !self.request.has_probed)
    }

    fn has_usable_from(&mut self, from: usize, except: Option<&Key>, may_probe: bool) -> bool {
        let is_other = |key: &PooledKey| !except.is_some_and(|except| except.is_handle_of(key));
        // The usual case.
        if let Some(key) = self.list.keys.get(from)
            && key.is_open()
            && is_other(key)
            && !(self.tried)(key)
        {
            return true;
        }
        let looks_for_probes =
            may_probe && self.config.probes.after.is_some() && self.is_any_probe_due();
        let mut next = from;
        while let Some(at) = self.next(next, looks_for_probes) {
            next = at + 1;
            let key = &self.list.keys[at];
            if key.availability(&mut self.now) != Availability::Closed
                && is_other(key)
                && !(self.tried)(key)
            {
                return true;
            }
        }
        false
    }

    fn is_any_probe_due(&mut self) -> bool {
        let earliest = self.config.pool_probes.earliest_due();
        earliest != u64::MAX && self.config.clock.has_come(earliest, &mut self.now)
    }

    /// The position of the next key from `from` on that may be usable. A search that `sweeps` also
    /// looks at closed keys, which may be due for a probe.
    #[inline]
    fn next(&mut self, from: usize, sweeps: bool) -> Option<usize> {
        if from >= self.list.keys.len() {
            return None;
        }
        if sweeps {
            return Some(from);
        }
        self.list.next_open(from, self.config.clock, &mut self.now)
    }
}
