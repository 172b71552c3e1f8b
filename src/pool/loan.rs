//! A key lent to one request: to see whether it has come back, or has recovered before its time.

use std::sync::Arc;

use super::clock::LazyNow;
use super::events::{PoolEvent, ReturnedBy};
use super::gate::{Gate, Lease, Lent};
use super::rules::Rules;
use super::slot::Slot;

/// The right to try a key. Dropped without a word, it is given back: the next request may try.
pub(crate) struct Loan {
    slot: Arc<Slot>,
    /// Of its own gate, and of its group's.
    leases: [Option<Lease>; 2],
}

impl Loan {
    /// `None` if another request has it.
    pub(super) fn take(slot: &Arc<Slot>, now: &mut LazyNow) -> Option<Box<Self>> {
        // Looked at first: who took one of two and gave it back would wake whoever waits, and may be
        // that one.
        let rules = &slot.shared.rules;
        if !slot.gates().all(|gate| gate.is_free(rules, now)) {
            return None;
        }
        // Boxed: it is rare, and every request would carry the room for it.
        let mut loan = Box::new(Self {
            slot: Arc::clone(slot),
            leases: [None; 2],
        });
        // What was taken of two is given back where the other cannot be had.
        for (lease, gate) in loan.leases.iter_mut().zip(slot.gates()) {
            *lease = match gate.lend(rules, now) {
                Lent::To(lease) => Some(lease),
                Lent::NotNeeded => None,
                Lent::Refused => return None,
            };
        }
        Some(loan)
    }

    /// The answer went to the caller. If it was a success the key returns to service, unless it was
    /// marked anew meanwhile. Any other says nothing of the key: it is tried again, after as long as
    /// this time.
    pub(crate) fn answered(mut self, is_success: bool) {
        if !is_success {
            self.settle(|rules, gate, lease| lease.spent(gate, rules, 0));
            return;
        }
        let mut returned = false;
        self.settle(|_, gate, lease| returned |= lease.succeeded(gate));
        if returned {
            self.slot.shared.tell(|| PoolEvent::Returned {
                key: self.slot.name(),
                by: ReturnedBy::Probe,
            });
        }
    }

    /// The key was refused again, and marked for it: the next trial is twice as far off.
    pub(crate) fn refused(mut self) {
        self.settle(|rules, gate, lease| lease.spent(gate, rules, 1));
    }

    fn settle(&mut self, mut each: impl FnMut(&Rules, &Gate, Lease)) {
        for (lease, gate) in self.leases.iter_mut().zip(self.slot.gates()) {
            if let Some(lease) = lease.take() {
                each(&self.slot.shared.rules, gate, lease);
            }
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.settle(|_, gate, lease| lease.given_back(gate));
        // Whoever waits may try it now, or use it.
        self.slot.shared.line.stir();
    }
}

impl Lease {
    /// Whether the gate is back in service by that: a newer mark survives.
    pub(super) fn succeeded(self, gate: &Gate) -> bool {
        let is_back = gate.reinstate_seen(self.seen);
        if !is_back {
            self.given_back(gate);
        }
        is_back
    }

    /// The next trial comes after the same time, or after so many times the double.
    pub(super) fn spent(self, gate: &Gate, rules: &Rules, doublings: u32) {
        let now = LazyNow::default().get();
        gate.trial.update(self.seen, |offer| {
            offer.held = false;
            if self.was_out {
                offer.doublings += doublings;
                offer.due = rules.next_trial(now, offer.doublings);
            }
        });
    }

    pub(super) fn given_back(self, gate: &Gate) {
        gate.trial.update(self.seen, |offer| offer.held = false);
    }
}
