//! The keys that a pool holds at a time, in order, and which of them a request may use.

use std::sync::Arc;
use std::time::Duration;

use super::clock::LazyNow;
use super::error::{Exhausted, ExhaustedKind};
use super::gate::{Standing, is_valid};
use super::key::Key;
use super::loan::Loan;
use super::rules::Rules;
use super::slot::Slot;
use super::state::KeyState;
use super::words::Run;

// Aligned, as its slots are.
#[repr(align(64))]
pub(super) struct List {
    pub(super) slots: Box<[Arc<Slot>]>,
    words: Box<[Run]>,
}

/// What a request says of itself when it asks for a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking<'a> {
    /// The key that its walk has come to.
    pub(crate) after: Option<&'a Key>,
    /// Whether it can go on to another key where this one is refused.
    pub(crate) can_go_on: bool,
    /// Whether it has waited: such requests take a key that has just returned one at a time.
    pub(crate) has_waited: bool,
    /// Whether it may wait: such requests leave a key that has just returned to those who do.
    pub(crate) may_wait: bool,
}

/// A key to use, and the right to try it where it takes that.
pub(crate) struct Pick {
    pub(crate) key: Key,
    pub(crate) loan: Option<Box<Loan>>,
    /// Whether there is another key behind it, to use or to try.
    pub(crate) has_more: bool,
}

/// What there is to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// A key is valid, and it is with another request or behind the walk. The first of the others
    /// returns, or is due, in so long, if any is.
    Taken(Option<Duration>),
    /// Every key is out.
    Out {
        /// The first returns in so long.
        returns: Duration,
        /// It returns, or another is due before, in so long.
        look_in: Duration,
    },
    /// Every key is out for good.
    Hopeless,
}

impl List {
    pub(super) fn of(slots: Box<[Arc<Slot>]>) -> Self {
        let words = Run::all(slots.iter().map(|slot| slot.core.gate.word()));
        Self { slots, words }
    }

    /// The position of the next key from `from` on, without those that are out by their word alone.
    #[inline]
    pub(super) fn next(&self, from: usize, rules: &Rules, now: &mut LazyNow) -> Option<usize> {
        if from >= self.slots.len() {
            return None;
        }
        if rules.probe_after.is_some() {
            // What is out may be due to be tried.
            return Some(from);
        }
        let mut words = self.words.iter().flat_map(Run::words).skip(from);
        let passed = words.position(|word| is_valid(word.load(), rules, now))?;
        Some(from + passed)
    }

    /// The first key that the request may use, leaving out those it has `tried`.
    #[inline]
    pub(super) fn pick(
        &self,
        asking: Asking<'_>,
        tried: impl Fn(&Slot) -> bool,
        rules: &Rules,
        now: &mut LazyNow,
    ) -> Option<Pick> {
        let from = self.after(asking.after);
        let (at, loan) = match self.slots.get(from)? {
            // Mostly it is the first.
            slot if slot.is_open() && !tried(slot) => (from, None),
            _ => self.search(from, asking, &tried, rules, now)?,
        };
        Some(Pick {
            key: self.key(at),
            loan,
            has_more: self.is_usable_from(at + 1, tried, rules, now),
        })
    }

    fn search(
        &self,
        from: usize,
        asking: Asking<'_>,
        tried: impl Fn(&Slot) -> bool,
        rules: &Rules,
        now: &mut LazyNow,
    ) -> Option<(usize, Option<Box<Loan>>)> {
        // Returned, but lent to another request: for who can have no other.
        let mut spare = None;
        let mut last_valid = None;
        let mut behind = from;
        while let Some(at) = self.next(behind, rules, now) {
            behind = at + 1;
            let slot = &self.slots[at];
            if tried(slot) {
                continue;
            }
            match slot.standing(rules, now) {
                Standing::Shut => {}
                Standing::Open => return Some((at, None)),
                Standing::Returned { .. }
                    if asking.may_wait && !asking.has_waited && !slot.shared.line.is_empty() => {}
                Standing::Returned { since } => {
                    if !asking.has_waited && !rules.is_on_slow_start(since, now) {
                        return Some((at, None));
                    }
                    match Loan::take(slot, now) {
                        Some(loan) => return Some((at, Some(loan))),
                        None => spare = spare.or(Some(at)),
                    }
                }
                Standing::Due => {
                    let last = || self.last_valid(&tried, rules, now);
                    if asking.can_go_on && *last_valid.get_or_insert_with(last) > Some(at) {
                        if let Some(loan) = Loan::take(slot, now) {
                            return Some((at, Some(loan)));
                        }
                    }
                }
            }
        }
        if let Some(at) = spare.filter(|_| !asking.has_waited) {
            return Some((at, None));
        }
        if rules.probe_after.is_none() || self.last_valid(|_| false, rules, now).is_some() {
            return None;
        }
        let mut slots = self.slots.iter().enumerate().skip(from);
        slots.find_map(|(at, slot)| {
            let loan = (!tried(slot)).then(|| Loan::take(slot, now))??;
            Some((at, Some(loan)))
        })
    }

    /// Whether a key behind `after` may be used, or tried.
    pub(super) fn has_more(
        &self,
        after: &Key,
        tried: impl Fn(&Slot) -> bool,
        rules: &Rules,
        now: &mut LazyNow,
    ) -> bool {
        self.is_usable_from(self.after(Some(after)), tried, rules, now)
    }

    fn is_usable_from(
        &self,
        from: usize,
        tried: impl Fn(&Slot) -> bool,
        rules: &Rules,
        now: &mut LazyNow,
    ) -> bool {
        // Mostly it is the first.
        if self
            .slots
            .get(from)
            .is_some_and(|slot| slot.is_open() && !tried(slot))
        {
            return true;
        }
        let mut behind = from;
        while let Some(at) = self.next(behind, rules, now) {
            let slot = &self.slots[at];
            if slot.standing(rules, now) != Standing::Shut && !tried(slot) {
                return true;
            }
            behind = at + 1;
        }
        false
    }

    fn last_valid(
        &self,
        tried: impl Fn(&Slot) -> bool,
        rules: &Rules,
        now: &mut LazyNow,
    ) -> Option<usize> {
        let mut slots = self.slots.iter();
        slots.rposition(|slot| slot.standing(rules, now) < Standing::Due && !tried(slot))
    }

    /// A handle to the key at `at`, whatever its state.
    #[inline]
    pub(super) fn key(&self, at: usize) -> Key {
        Key::new(&self.slots[at], at)
    }

    /// Where a walk goes on that has come to a key: behind it, or where that is no longer there, at
    /// the beginning.
    #[inline]
    fn after(&self, key: Option<&Key>) -> usize {
        let Some(key) = key else {
            return 0;
        };
        let is_at = |at: usize| self.slots.get(at).is_some_and(|slot| key.is_of(slot));
        if is_at(key.index()) {
            return key.index() + 1;
        }
        (0..self.slots.len())
            .find(|at| is_at(*at))
            .map_or(0, |at| at + 1)
    }

    /// What there is to wait for, leaving `out` some keys.
    pub(super) fn outlook(&self, out: impl Fn(&Slot) -> bool, now: &mut LazyNow) -> Outlook {
        let exhausted = self.exhausted(&out, now);
        match (exhausted.kind, exhausted.retry_after) {
            (ExhaustedKind::Permanent, _) => Outlook::Hopeless,
            (ExhaustedKind::RateLimited, Some(returns)) => Outlook::Out {
                returns,
                // Marks may come between one look and the other.
                look_in: self
                    .next_chance(out, now)
                    .map_or(returns, |next| next.min(returns)),
            },
            (ExhaustedKind::RateLimited, None) => Outlook::Taken(self.next_chance(out, now)),
        }
    }

    /// When the next of the keys that are out returns or is due. Whether it can be had then is seen
    /// then.
    fn next_chance(&self, out: impl Fn(&Slot) -> bool, now: &mut LazyNow) -> Option<Duration> {
        let slots = self.slots.iter().filter(|slot| !out(slot));
        let chances = slots.flat_map(|slot| {
            let returns = match slot.state(now) {
                KeyState::Temporary { retry_after } => Some(retry_after),
                KeyState::Valid | KeyState::Permanent => None,
            };
            // One that is due already, and is not to be had, returns all the same.
            [returns, slot.due_in(now)]
        });
        chances.flatten().min()
    }

    /// One pass over all keys but those to be left `out`, each read once.
    pub(super) fn exhausted(&self, out: impl Fn(&Slot) -> bool, now: &mut LazyNow) -> Exhausted {
        let mut soonest: Option<Duration> = None;
        for slot in self.slots.iter().filter(|slot| !out(slot)) {
            match slot.state(now) {
                KeyState::Valid => {
                    return Exhausted {
                        kind: ExhaustedKind::RateLimited,
                        retry_after: None,
                    };
                }
                KeyState::Temporary { retry_after } => {
                    soonest = Some(soonest.map_or(retry_after, |other| other.min(retry_after)));
                }
                KeyState::Permanent => {}
            }
        }
        Exhausted {
            kind: match soonest {
                Some(_) => ExhaustedKind::RateLimited,
                None => ExhaustedKind::Permanent,
            },
            retry_after: soonest,
        }
    }
}
