//! One search through the list, for the usable key of the lowest rank.

use super::list::KeyList;
use super::pick::Selector;
use super::probe_order::{ProbeSearch, probe_without_alternative};
use super::rank::Rank;
use super::rendezvous::Session;
use super::turns::Turns;
use super::walk::Walk;
use crate::pool::key_choice::KeyChoice;
use crate::pool::pooled_key::PooledKey;
use crate::pool::probe::Probe;
use crate::pool::state::{Availability, Terms};

/// The result of one search.
pub(super) enum Searched {
    Found(Found),
    Nothing,
    /// The key that was found was marked, or another request took its last place.
    Lost,
}

/// The key that a search found.
pub(super) struct Found {
    pub(super) at: usize,
    pub(super) probe: Option<Box<Probe>>,
    /// Whether the search passed another usable key.
    pub(super) has_more: bool,
    /// The keys that the search did not look at.
    pub(super) rest: Walk,
}

/// What a search has seen so far.
struct Search {
    session: Option<Session>,
    walk: Walk,
    probes: ProbeSearch,
    /// The best usable key.
    best: Option<Candidate>,
    /// A reopening key without room: only for a request without an alternative.
    full: Option<usize>,
    /// How many usable keys it passed, with those that it leaves to other requests. It stops counting
    /// after two.
    available: usize,
}

/// A usable key.
#[derive(Clone, Copy)]
struct Candidate {
    at: usize,
    rank: Rank,
    is_reopening: bool,
}

/// What a key is to a request.
enum Use {
    Closed {
        can_probe: bool,
    },
    Tried,
    /// It is at its cap, or waiters come first.
    LeftToOthers,
    /// It is reopening and has no room for this request.
    Full,
    Usable {
        is_reopening: bool,
    },
}

impl Search {
    /// What every key that the rest of the search finds has to beat. `None` if it matters which other
    /// keys are usable.
    fn to_beat(&self) -> Option<Rank> {
        let best = self.best.map(|best| best.rank);
        best.filter(|rank| self.available > 1 && !rank.is_suspected())
    }

    /// Whether the best key is trusted.
    fn is_trusted(&self) -> bool {
        self.best.is_some_and(|best| !best.rank.is_suspected())
    }

    /// Records a usable key.
    fn consider(&mut self, candidate: Candidate) {
        if self.best.is_none_or(|best| candidate.rank < best.rank) {
            self.best = Some(candidate);
        }
    }

    fn found(&self, at: usize, probe: Option<Box<Probe>>, has_more: bool) -> Searched {
        Searched::Found(Found {
            at,
            probe,
            has_more,
            rest: self.walk,
        })
    }
}

impl<F: Fn(&PooledKey) -> bool> Selector<'_, F> {
    /// Looks for the usable key of the lowest rank, and for keys to probe before it.
    pub(super) fn search(&mut self) -> Searched {
        let mut search = self.begin_search();
        while let Some(at) = self.next_key(&mut search) {
            if self.look_at(at, &mut search) {
                break;
            }
        }
        let is_trusted = search.is_trusted();
        search.probes.end(self.config, is_trusted, &mut self.now);
        self.choose(search)
    }

    fn begin_search(&mut self) -> Search {
        let session = self.request.choice.and_then(KeyChoice::session);
        let may_probe = self.request.can_continue && !self.request.has_probed;
        let start = self.list.turns.as_ref().map_or(0, Turns::start);
        Search {
            session: session.map(Session::new),
            walk: Walk::new(start, self.list.keys.len()),
            probes: ProbeSearch::begin(self.config, may_probe, &mut self.now),
            best: None,
            full: None,
            available: 0,
        }
    }

    /// The position of the next key that can matter. Most keys of a long list come after the best one
    /// that the search has found.
    #[inline]
    fn next_key(&mut self, search: &mut Search) -> Option<usize> {
        let to_beat = search.to_beat();
        let Search {
            walk,
            probes,
            session,
            ..
        } = search;
        if let Some(soonest) = probes.sweep() {
            return self.next_open_or_due(walk, soonest);
        }
        let KeyList {
            keys,
            ranking,
            turns,
            ..
        } = self.list;
        let has_scope = self.scope().is_some();
        match to_beat {
            None => self.next_open(walk, |_| false),
            Some(best) => self.next_open(walk, |at| {
                let key = &keys[at];
                // No sweep finds the scopes that are due for a probe.
                let can_be_due = has_scope && key.has_scopes();
                let in_flight = || key.in_flight().unwrap_or_default();
                !can_be_due && ranking.is_behind(at, &best, *session, turns.as_ref(), in_flight)
            }),
        }
    }

    /// Looks at one key. Returns whether no later key can come before it.
    fn look_at(&mut self, at: usize, search: &mut Search) -> bool {
        let key = &self.list.keys[at];
        let is_reopening = match self.use_of(key) {
            Use::Closed { can_probe } => {
                search.probes.pass_closed(at, key, can_probe);
                return false;
            }
            Use::Tried => return false,
            Use::LeftToOthers => {
                search.available += 1;
                return false;
            }
            Use::Full => {
                search.available += 1;
                search.full = search.full.or(Some(at));
                return false;
            }
            Use::Usable { is_reopening } => is_reopening,
        };
        search.available += 1;
        let rank = self.rank(at, search.session);
        search.consider(Candidate {
            at,
            rank,
            is_reopening,
        });
        if rank.is_suspected() {
            search.probes.pass_suspected(at, key, &mut self.now);
        }
        self.list.ranking.is_lowest(&rank)
    }

    fn use_of(&mut self, key: &PooledKey) -> Use {
        let limits = key.limits_for(self.scope());
        let availability = limits.availability(&mut self.now);
        if availability >= Availability::ProbeDue {
            let can_probe = availability == Availability::ProbeDue
                && !(self.tried)(key)
                && limits.has_room(&mut self.now)
                && !key.is_at_cap();
            return Use::Closed { can_probe };
        }
        if (self.tried)(key) {
            return Use::Tried;
        }
        // Waiters may have been woken for the places below the cap.
        if key.is_at_cap() || key.is_capped() && self.is_left_to_waiters(key) {
            return Use::LeftToOthers;
        }
        let is_reopening = availability == Availability::Reopening;
        if is_reopening && (self.is_left_to_waiters(key) || !limits.has_room(&mut self.now)) {
            return Use::Full;
        }
        Use::Usable { is_reopening }
    }

    fn is_left_to_waiters(&self, key: &PooledKey) -> bool {
        self.request.yields_to_waiters && self.queue.has_waiter_for(key)
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

    /// Takes the key to probe, the best usable key, or one without an alternative, in this order.
    fn choose(&mut self, search: Search) -> Searched {
        let full = search.full.filter(|_| self.request.may_exceed);
        if let Some(alternative) = search.best.map(|best| best.at).or(full)
            && let Some((at, probe)) = self.probe_before(alternative, &search)
        {
            return search.found(at, Some(probe), true);
        }
        let has_more = search.available > 1;
        let (at, terms) = match (search.best, full) {
            (Some(best), _) if !best.is_reopening => return search.found(best.at, None, has_more),
            (Some(best), _) => (best.at, Terms::Usable),
            (None, Some(full)) => (full, Terms::Exceeding),
            (None, None) => {
                return match probe_without_alternative(self) {
                    Some((at, probe)) => search.found(at, Some(probe), false),
                    None => Searched::Nothing,
                };
            }
        };
        match self.take(at, terms) {
            Some(probe) => search.found(at, Some(probe), has_more),
            None => Searched::Lost,
        }
    }

    /// Takes a key to probe, before the request uses the `alternative`.
    fn probe_before(&mut self, alternative: usize, search: &Search) -> Option<(usize, Box<Probe>)> {
        let mut candidates = search.probes.candidates(search.is_trusted());
        candidates.find_map(|at| {
            let is_other = at != alternative;
            Some((at, is_other.then(|| self.take(at, Terms::ProbeIfDue))??))
        })
    }

    fn take(&mut self, at: usize, terms: Terms) -> Option<Box<Probe>> {
        Probe::take(&self.list.keys[at], self.scope(), terms, &mut self.now)
    }
}
