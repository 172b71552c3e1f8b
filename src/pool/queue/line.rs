//! Who waits, and whose turn it is.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use super::waiter::Turn;
use super::wants::Wants;
use crate::pool::pooled_key::PooledKey;

/// A waiter that does not look for so long after it should have is passed over.
const LATE_AFTER: Duration = Duration::from_millis(250);
/// The resolution of deadlines.
const RESOLUTION: Duration = Duration::from_millis(1);
/// How often the second waiter checks whether the first one is polled. The others check less often, the
/// further behind they are, so that many waiters cost little.
const CHECK: Duration = Duration::from_secs(1);

/// Waiters in the order of their numbers.
#[derive(Default)]
pub(super) struct Line {
    next_number: u64,
    places: VecDeque<Place>,
    /// Counts the rounds.
    round: u64,
    /// What the waiters want that looked in vain in this round.
    in_vain: SmallVec<[Wants; 1]>,
}

struct Place {
    number: u64,
    waker: Option<Waker>,
    wants: Wants,
    deadline: Instant,
    /// Since when it has its turn, unless it is looking.
    turn: Option<Instant>,
    is_looking: bool,
    /// When a key is due for it.
    due: Option<Instant>,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Returns the waiter's number.
    pub(super) fn push(&mut self, wants: Wants, deadline: Instant, now: Instant) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        // Unless another waiter looks for all that this one can use, this one has to know what is due.
        let mut others = self.places.iter();
        let is_covered = others.any(|other| wants.is_within(&other.wants));
        self.places.push_back(Place {
            number,
            waker: None,
            wants,
            deadline,
            turn: None,
            is_looking: false,
            due: (!is_covered).then_some(now),
        });
        number
    }

    pub(super) fn has_waiter_for(&self, key: &PooledKey, now: Instant) -> bool {
        let mut places = self.places.iter();
        places.any(|place| place.is_present(now) && place.wants.allows(key))
    }

    /// Gives the first waiter its turn. Returns whom to wake.
    #[must_use]
    pub(super) fn begin_round(&mut self, now: Instant) -> Option<Waker> {
        self.round += 1;
        self.in_vain.clear();
        self.give_turn_from(0, now)
    }

    /// The same if only one key has changed. Waiters that cannot use it do not have to look.
    #[must_use]
    pub(super) fn begin_round_for(&mut self, key: &PooledKey, now: Instant) -> Option<Waker> {
        // Also those whose scope is closed, because the change may have opened it.
        let can_use = |place: &Place| place.wants.include(key);
        let first = self.places.iter().position(can_use)?;
        let mut before = self.places.range(..first);
        // A round that is in progress may be about something else.
        if before.any(|place| place.turn.is_some() || place.is_looking) {
            return self.begin_round(now);
        }
        self.round += 1;
        self.in_vain.clear();
        self.give_turn_from(first, now)
    }

    /// Gives the turn to the first waiter from `at` on that may find a key.
    fn give_turn_from(&mut self, at: usize, now: Instant) -> Option<Waker> {
        let in_vain = &self.in_vain;
        let mut places = self.places.range_mut(at..);
        let next = places.find(|place| place.is_present(now) && place.may_find(in_vain))?;
        next.turn = next.turn.or(Some(now));
        next.waker.take()
    }

    /// Stores what wakes a waiter, and until when it waits. Returns what it stored before.
    pub(super) fn register(
        &mut self,
        number: u64,
        waker: Waker,
        deadline: Instant,
    ) -> Option<Waker> {
        let at = self.find(number);
        self.places[at].deadline = deadline;
        self.places[at].waker.replace(waker)
    }

    /// Whether a waiter looks for a key now. Also returns whom to wake.
    pub(super) fn poll_turn(&mut self, number: u64, now: Instant) -> (Turn, Option<Waker>) {
        let at = self.find(number);
        let is_first = !self.places.range(..at).any(|place| place.is_present(now));
        let place = &mut self.places[at];
        let is_due = place.due.take_if(|due| *due <= now).is_some();
        if is_first || place.turn.is_some() {
            place.turn = None;
            place.is_looking = true;
            return (Turn::Look { round: self.round }, None);
        }
        // If a key is due for this waiter, those before it look first.
        let mut before = self.places.range(..at);
        let begins = is_due || before.any(|place| place.is_late(now));
        let woken = if begins { self.begin_round(now) } else { None };
        let later = now + CHECK * u32::try_from(at).unwrap_or(u32::MAX);
        (Turn::Later(later), woken)
    }

    /// A waiter has found nothing. It looks again when a key is `due` for it. Returns whom to wake.
    pub(super) fn pass(
        &mut self,
        number: u64,
        round: u64,
        due: Instant,
        now: Instant,
    ) -> Option<Waker> {
        let at = self.find(number);
        let place = &mut self.places[at];
        place.is_looking = false;
        place.due = Some(due);
        if round != self.round {
            // It looked before the present round, which begins with the first waiter.
            return None;
        }
        self.in_vain.push(place.wants.clone());
        self.give_turn_from(at + 1, now)
    }

    /// Removes a waiter. If it had a turn, it may have left a key to others. Returns what it stored, and
    /// whom to wake.
    pub(super) fn leave(&mut self, number: u64, now: Instant) -> [Option<Waker>; 2] {
        let at = self.find(number);
        let Some(place) = self.places.remove(at) else {
            return [None, None];
        };
        let had_turn = at == 0 || place.is_looking || place.turn.is_some() || place.due.is_some();
        if !had_turn {
            return [place.waker, None];
        }
        self.in_vain.clear();
        [place.waker, self.give_turn_from(at, now)]
    }

    fn find(&self, number: u64) -> usize {
        self.places.partition_point(|place| place.number < number)
    }
}

impl Place {
    /// Whether others have to let it look first.
    fn is_present(&self, now: Instant) -> bool {
        now <= self.deadline + RESOLUTION && !self.is_late(now)
    }

    /// Whether it should have looked long ago.
    fn is_late(&self, now: Instant) -> bool {
        let since = self.turn.into_iter().chain(self.due).min();
        since.is_some_and(|since| since + LATE_AFTER <= now)
    }

    /// Whether it may find a key although others have looked in vain.
    fn may_find(&self, in_vain: &[Wants]) -> bool {
        !in_vain.iter().any(|other| self.wants.is_within(other))
    }
}
