//! The keys that a pool holds at a time, in order, and which of them a request may use.

use std::sync::Arc;
use std::time::Duration;

use super::clock::LazyNow;
use super::error::{Exhausted, ExhaustedKind};
use super::gate::Standing;
use super::key::Key;
use super::loan::Loan;
use super::rules::Rules;
use super::slot::Slot;
use super::state::KeyState;

pub(super) struct List {
    pub(super) slots: Box<[Arc<Slot>]>,
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
}

/// A key to use, and the right to try it where it takes that.
pub(crate) struct Pick {
    pub(crate) key: Key,
    pub(crate) loan: Option<Box<Loan>>,
}

impl List {
    /// The first key that the request may use, leaving out those it has `tried`.
    pub(super) fn pick(
        &self,
        asking: Asking<'_>,
        tried: impl Fn(&Slot) -> bool,
        rules: &Rules,
        now: &mut LazyNow,
    ) -> Option<Pick> {
        // Returned, but lent to another request: for who can have no other.
        let mut spare = None;
        // Out, and due to be tried.
        let mut due = None;
        let from = self.after(asking.after);
        for (at, slot) in self.slots.iter().enumerate().skip(from) {
            match slot.standing(rules, now) {
                Standing::Shut => {}
                _ if tried(slot) => {}
                Standing::Open => return Some(self.pick_at(at, None)),
                Standing::Returned { since } => {
                    if !asking.has_waited && !rules.is_on_ramp(since, now) {
                        return Some(self.pick_at(at, None));
                    }
                    match Loan::take(slot, now) {
                        Some(loan) => return Some(self.pick_at(at, Some(loan))),
                        None => spare = spare.or(Some(at)),
                    }
                }
                Standing::Due if asking.can_go_on && self.has_valid(at + 1, rules, now) => {
                    if let Some(loan) = Loan::take(slot, now) {
                        return Some(self.pick_at(at, Some(loan)));
                    }
                }
                Standing::Due => due = due.or(Some(at)),
            }
        }
        if let Some(at) = spare.filter(|_| !asking.has_waited) {
            return Some(self.pick_at(at, None));
        }
        let at = due.filter(|_| !self.has_valid(0, rules, now))?;
        let loan = Loan::take(&self.slots[at], now)?;
        Some(self.pick_at(at, Some(loan)))
    }

    /// Whether a key behind `after` may be used, or tried.
    pub(super) fn has_usable(
        &self,
        after: Option<&Key>,
        tried: impl Fn(&Slot) -> bool,
        rules: &Rules,
        now: &mut LazyNow,
    ) -> bool {
        let mut slots = self.slots.iter().skip(self.after(after));
        slots.any(|slot| slot.standing(rules, now) != Standing::Shut && !tried(slot))
    }

    fn has_valid(&self, from: usize, rules: &Rules, now: &mut LazyNow) -> bool {
        let mut slots = self.slots.iter().skip(from);
        slots.any(|slot| slot.standing(rules, now) < Standing::Due)
    }

    fn pick_at(&self, at: usize, loan: Option<Box<Loan>>) -> Pick {
        let key = self.key(at);
        Pick { key, loan }
    }

    /// A handle to the key at `at`, whatever its state.
    pub(super) fn key(&self, at: usize) -> Key {
        Key::new(&self.slots[at], at)
    }

    /// Where a walk goes on that has come to a key: behind it, or where that is no longer there, at
    /// the beginning.
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
