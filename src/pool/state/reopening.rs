//! How a limit reopens after its cooldown: silence counts as proof.
//!
//! The limit admits `1 + p` attempts that are younger than 250 ms and have no verdict yet. Each success,
//! and each attempt that reaches 250 ms without a refusal, increments `p`. A refusal begins another
//! cooldown, after which `p` is 0. At `p = 16` the limit is fully open. The rule is the same for all requests, so that a limit with little
//! room is not flooded, and slow responses do not hold up others.

use std::collections::VecDeque;
use std::time::Duration;

use super::atomic_state::{AtomicState, StateValue};
use crate::pool::clock::{Clock, LazyNow};
use crate::sync::{Mutex, MutexGuard};

/// After this many proofs, the limit is fully open.
const PROOFS: usize = match cfg!(tower_key_failover_loom) {
    false => 16,
    // So that few steps open it.
    true => 2,
};
/// An attempt that was not refused for so many milliseconds is a proof.
const SILENCE: u64 = 250;

/// The progress of one limit. Only requests that use a limit between its cooldown and its full opening
/// take the lock.
pub(super) struct Reopening(Mutex<Option<Box<Progress>>>);

/// Between the end of one cooldown and the full opening of the limit.
struct Progress {
    /// The state with the cooldown that has ended.
    of: StateValue,
    proofs: usize,
    next_number: u64,
    /// The admitted attempts without a verdict that are younger than the silence, and when they began.
    /// If more attempts exceed the allowance, they are not recorded: those that are will do.
    young: VecDeque<(u64, u64)>,
}

/// One attempt's place in a limit that reopens.
#[derive(Clone, Copy, Debug)]
pub(in crate::pool) struct Admission {
    of: StateValue,
    /// `None` if the attempt is not recorded.
    number: Option<u64>,
}

/// The result of [`Reopening::admit`].
pub(super) enum Admitted {
    Yes(Admission),
    /// The allowance is used up.
    No,
    /// The limit is fully open, or was marked in the meantime.
    Changed,
}

impl Admission {
    pub(super) fn seen(self) -> StateValue {
        self.of
    }
}

impl Reopening {
    pub(super) fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Admits an attempt, unless the allowance is used up. An attempt that `exceeds` the allowance is
    /// admitted in any case.
    pub(super) fn admit(
        &self,
        state: &AtomicState,
        of: StateValue,
        exceeds: bool,
        clock: Clock,
        now: &mut LazyNow,
    ) -> Admitted {
        let now = now.millis(clock);
        let mut guard = self.lock();
        let Some(progress) = current(&mut guard, state, of) else {
            return Admitted::Changed;
        };
        progress.grow_older(now);
        if open_if_proven(&mut guard, state) {
            return Admitted::Changed;
        }
        match guard.as_mut() {
            Some(progress) if exceeds || progress.has_room() => Admitted::Yes(Admission {
                of,
                number: progress.admit(now),
            }),
            _ => Admitted::No,
        }
    }

    /// How long until the limit admits another attempt. Zero if that is now.
    pub(super) fn admits_in(&self, of: StateValue, clock: Clock, now: &mut LazyNow) -> Duration {
        let now = now.millis(clock);
        let mut guard = self.lock();
        let Some(progress) = guard.as_mut().filter(|progress| progress.of == of) else {
            return Duration::ZERO;
        };
        progress.grow_older(now);
        match progress.young.front() {
            Some((_, since)) if !progress.has_room() => {
                Duration::from_millis(since.saturating_add(SILENCE).saturating_sub(now))
            }
            _ => Duration::ZERO,
        }
    }

    /// Ends an attempt. If it was refused, the limit is marked again and forgets its proofs. Returns
    /// whether the limit is fully open now.
    pub(super) fn end(
        &self,
        state: &AtomicState,
        admission: Admission,
        is_success: bool,
        clock: Clock,
        now: &mut LazyNow,
    ) -> bool {
        let now = now.millis(clock);
        let mut guard = self.lock();
        let Some(progress) = current(&mut guard, state, admission.of) else {
            return false;
        };
        progress.grow_older(now);
        // An older attempt counts as a proof already.
        let is_new = admission
            .number
            .is_none_or(|number| progress.remove(number));
        progress.proofs += usize::from(is_success && is_new);
        open_if_proven(&mut guard, state)
    }

    /// Counts the success of an attempt that the limit did not admit. Returns whether the limit is
    /// fully open now.
    pub(super) fn succeed(
        &self,
        state: &AtomicState,
        of: StateValue,
        clock: Clock,
        now: &mut LazyNow,
    ) -> bool {
        let admission = Admission { of, number: None };
        self.end(state, admission, true, clock, now)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Progress>>> {
        // No code panics while it holds the lock.
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The progress since the cooldown `of`, unless the state has changed.
fn current<'a>(
    progress: &'a mut Option<Box<Progress>>,
    state: &AtomicState,
    of: StateValue,
) -> Option<&'a mut Progress> {
    if state.load() != of {
        return None;
    }
    if progress.as_ref().is_none_or(|progress| progress.of != of) {
        *progress = Some(Box::new(Progress::new(of)));
    }
    progress.as_deref_mut()
}

/// Opens the limit fully after enough proofs. Returns whether it did.
fn open_if_proven(progress: &mut Option<Box<Progress>>, state: &AtomicState) -> bool {
    match progress.take_if(|progress| progress.proofs >= PROOFS) {
        Some(progress) => state.end_cooldown(progress.of),
        None => false,
    }
}

impl Progress {
    fn new(of: StateValue) -> Self {
        Self {
            of,
            proofs: 0,
            next_number: 0,
            young: VecDeque::new(),
        }
    }

    fn has_room(&self) -> bool {
        self.young.len() <= self.proofs
    }

    fn admit(&mut self, now: u64) -> Option<u64> {
        if self.young.len() >= PROOFS {
            return None;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.young.push_back((number, now));
        Some(number)
    }

    /// Turns the attempts that were not refused for long enough into proofs.
    fn grow_older(&mut self, now: u64) {
        let is_old = |(_, since): &(u64, u64)| since.saturating_add(SILENCE) <= now;
        while self.young.front().is_some_and(is_old) {
            self.young.pop_front();
            self.proofs += 1;
        }
    }

    /// Returns whether the attempt was still young.
    fn remove(&mut self, number: u64) -> bool {
        let at = self.young.iter().position(|(young, _)| *young == number);
        at.and_then(|at| self.young.remove(at)).is_some()
    }
}
