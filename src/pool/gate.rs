//! Whether something may be used now: one key by itself, or a group of keys that share a limit.

use std::time::Duration;

use super::clock::LazyNow;
use super::reason::{Cause, Reason};
use super::rules::Rules;
use super::state::{KeyState, Marked};
use super::trial::{Offer, Trial};
use super::word::{Stamp, Until};
use super::words::WordRef;
use crate::sync::atomic::{AtomicU8, AtomicU32, Ordering};

pub(super) struct Gate {
    word: WordRef,
    pub(super) trial: Trial,
    /// How many cooldowns of unknown length came since the last success.
    repeated: AtomicU32,
    /// Why it was last put out: one more than the reason's index.
    reason: AtomicU8,
}

/// What a gate is to a request that comes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    Open,
    /// Its cooldown is over, and nothing has succeeded since that anybody watched.
    Returned {
        /// Milliseconds since the pool's epoch.
        since: u64,
    },
    /// It is out, and it is time to try it.
    Due,
    Shut,
}

/// What a gate was lent under.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    /// What it said.
    pub(super) seen: Stamp,
    /// Whether it was still out.
    pub(super) was_out: bool,
}

/// What comes of asking for a lease.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lent {
    To(Lease),
    /// It may be used as it is.
    NotNeeded,
    /// It is out, or another request has it.
    Refused,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self::of(WordRef::alone())
    }

    pub(super) fn of(word: WordRef) -> Self {
        Self {
            word,
            trial: Trial::new(),
            repeated: AtomicU32::new(0),
            reason: AtomicU8::new(0),
        }
    }

    pub(super) fn stamp(&self) -> Stamp {
        self.word.load()
    }

    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.word.load().until() == Until::Now
    }

    pub(super) fn word(&self) -> &WordRef {
        &self.word
    }

    pub(super) fn standing(&self, rules: &Rules, now: &mut LazyNow) -> Standing {
        let stamp = self.word.load();
        judge(stamp, || self.trial.offer(stamp), rules, now)
    }

    /// Whether a request can have it, to use or to try.
    pub(super) fn is_free(&self, rules: &Rules, now: &mut LazyNow) -> bool {
        let stamp = self.word.load();
        let offer = self.trial.offer(stamp);
        match judge(stamp, || offer, rules, now) {
            Standing::Open | Standing::Due => true,
            Standing::Returned { .. } => !offer.held,
            Standing::Shut => false,
        }
    }

    /// Lends it to one request.
    pub(super) fn lend(&self, rules: &Rules, now: &mut LazyNow) -> Lent {
        let seen = self.word.load();
        let offer = self.trial.offer(seen);
        let was_out = match judge(seen, || offer, rules, now) {
            Standing::Open => return Lent::NotNeeded,
            Standing::Shut => return Lent::Refused,
            Standing::Returned { .. } => false,
            Standing::Due => true,
        };
        if self.trial.take(seen, offer) {
            Lent::To(Lease { seen, was_out })
        } else {
            Lent::Refused
        }
    }

    pub(super) fn state(&self, rules: &Rules, now: &mut LazyNow) -> KeyState {
        match self.word.load().until() {
            Until::Now => KeyState::Valid,
            Until::Never => KeyState::Permanent,
            Until::Millis(until) => match rules.clock.remaining(until, now) {
                None => KeyState::Valid,
                Some(retry_after) => KeyState::Temporary { retry_after },
            },
        }
    }

    /// In how long it is due, or has returned: zero where that has come, `None` where it never does.
    pub(super) fn due_in(&self, rules: &Rules, now: &mut LazyNow) -> Option<Duration> {
        let stamp = self.word.load();
        let until = match stamp.until() {
            Until::Now => return Some(Duration::ZERO),
            Until::Millis(until) => Some(until),
            Until::Never => None,
        };
        let due = Some(self.trial.offer(stamp).due).filter(|due| *due != 0);
        let soonest = until.into_iter().chain(due).min()?;
        Some(rules.clock.remaining(soonest, now).unwrap_or_default())
    }

    pub(super) fn reason(&self) -> Option<Reason> {
        let at = self.reason.load(Ordering::Relaxed).checked_sub(1)?;
        Reason::ALL.get(usize::from(at)).copied()
    }

    /// Puts it out for `wait`, or for the default. Also says for how long that is.
    pub(super) fn put_out(
        &self,
        rules: &Rules,
        generation: u32,
        wait: Option<Duration>,
        cause: Cause,
    ) -> (Marked, Duration) {
        let mut now = LazyNow::default();
        let hint = wait.filter(|wait| !wait.is_zero());
        let wait = hint
            .unwrap_or_else(|| rules.cooldown(self.repeated(rules, &mut now)))
            .min(rules.max_cooldown);
        let until = rules.clock.deadline(now.get(), wait);
        let stamp = Stamp::temporary(generation, until);
        let before = self.word.raise(stamp);
        let marked = if before >= stamp {
            Marked::Unchanged
        } else if is_valid(before, rules, &mut now) {
            Marked::Transitioned
        } else {
            Marked::Extended
        };
        // A burst of refusals is one: only that which put the key out counts.
        if hint.is_none() && marked == Marked::Transitioned {
            self.repeated.fetch_add(1, Ordering::Relaxed);
        }
        if marked != Marked::Unchanged {
            let was_valid = marked == Marked::Transitioned;
            self.note(rules, stamp, cause, was_valid, &mut now);
        }
        (marked, wait)
    }

    /// How many cooldowns of unknown length came before this one.
    fn repeated(&self, rules: &Rules, now: &mut LazyNow) -> u32 {
        let repeated = self.repeated.load(Ordering::Relaxed);
        if rules.growth.is_none() || is_valid(self.word.load(), rules, now) {
            repeated
        } else {
            // The one that it is in counts already.
            repeated.saturating_sub(1)
        }
    }

    pub(super) fn put_out_for_good(&self, rules: &Rules, generation: u32, cause: Cause) -> Marked {
        let stamp = Stamp::permanent(generation);
        let before = self.word.raise(stamp);
        if before >= stamp {
            return Marked::Unchanged;
        }
        let mut now = LazyNow::default();
        let was_valid = is_valid(before, rules, &mut now);
        self.note(rules, stamp, cause, was_valid, &mut now);
        Marked::Transitioned
    }

    fn note(&self, rules: &Rules, stamp: Stamp, cause: Cause, was_valid: bool, now: &mut LazyNow) {
        self.reason
            .store(cause.reason.index() as u8 + 1, Ordering::Relaxed);
        if rules.probe_after.is_some() {
            let now = now.get();
            self.trial.update(stamp, |offer| {
                if was_valid {
                    offer.doublings = 0;
                }
                offer.due = rules.next_trial(now, offer.doublings);
            });
        }
    }

    /// Puts it out for as long as `other` is, to which it belonged.
    pub(super) fn stay_out_with(&self, other: &Self, rules: &Rules) {
        let mut now = LazyNow::default();
        let Until::Millis(until) = other.stamp().until() else {
            return;
        };
        if rules.clock.has_come(until, &mut now) {
            return;
        }
        let stamp = Stamp::temporary(self.stamp().generation(), until);
        let before = self.word.raise(stamp);
        if before < stamp {
            let cause = Cause::of(other.reason().unwrap_or(Reason::Other));
            let was_valid = is_valid(before, rules, &mut now);
            self.note(rules, stamp, cause, was_valid, &mut now);
        }
    }

    /// Puts it out for good, and out of reach of trials. Whether that changed its state.
    pub(super) fn disable(&self) -> Marked {
        let before = self.word.disable();
        if before == Stamp::REMOVED {
            return Marked::Unchanged;
        }
        let reason = Reason::Operator.index() as u8 + 1;
        self.reason.store(reason, Ordering::Relaxed);
        match before.until() {
            Until::Never => Marked::Unchanged,
            Until::Now | Until::Millis(_) => Marked::Transitioned,
        }
    }

    /// Returns it to service, whatever it was marked with. Whether it was out.
    pub(super) fn reinstate(&self, rules: &Rules) -> bool {
        let mut now = LazyNow::default();
        loop {
            let seen = self.word.load();
            let was_out = !is_valid(seen, rules, &mut now);
            if seen.until() == Until::Now || self.word.reinstate(seen) {
                self.repeated.store(0, Ordering::Relaxed);
                return was_out;
            }
            if self.word.load() == seen {
                // It cannot be returned any more.
                return false;
            }
        }
    }

    /// Returns it to service, if it still stands as it was `seen`.
    pub(super) fn reinstate_seen(&self, seen: Stamp) -> bool {
        let is_back = self.word.reinstate(seen);
        if is_back {
            self.repeated.store(0, Ordering::Relaxed);
        }
        is_back
    }

    /// A request has succeeded.
    pub(super) fn succeeded(&self, rules: &Rules, generation: u32) {
        if self.repeated.load(Ordering::Relaxed) == 0 {
            return;
        }
        // A late success says nothing of a cooldown that began after it.
        let stamp = self.word.load();
        if stamp.generation() == generation && is_valid(stamp, rules, &mut LazyNow::default()) {
            self.repeated.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn remove(&self) {
        self.word.raise(Stamp::REMOVED);
    }

    pub(super) fn is_removed(&self) -> bool {
        self.word.load() == Stamp::REMOVED
    }
}

/// What a gate is whose word says `stamp`.
fn judge(
    stamp: Stamp,
    offer: impl FnOnce() -> Offer,
    rules: &Rules,
    now: &mut LazyNow,
) -> Standing {
    match stamp.until() {
        Until::Now => return Standing::Open,
        Until::Millis(since) if rules.clock.has_come(since, now) => {
            return Standing::Returned { since };
        }
        Until::Millis(_) | Until::Never => {}
    }
    if rules.probe_after.is_none() {
        return Standing::Shut;
    }
    let offer = offer();
    if offer.due != 0 && !offer.held && rules.clock.has_come(offer.due, now) {
        Standing::Due
    } else {
        Standing::Shut
    }
}

#[inline]
pub(super) fn is_valid(stamp: Stamp, rules: &Rules, now: &mut LazyNow) -> bool {
    match stamp.until() {
        Until::Now => true,
        Until::Never => false,
        Until::Millis(until) => rules.clock.has_come(until, now),
    }
}
