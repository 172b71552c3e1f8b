//! A key lent to one request: to see whether it has come back, or has recovered before its time.

use std::sync::Arc;

use super::clock::LazyNow;
use super::events::{PoolEvent, ReturnedBy};
use super::gate::{Gate, Standing};
use super::rules::Rules;
use super::slot::Slot;
use super::word::Stamp;

/// The right to try a key. Dropped without a word, it is given back: the next request may try.
pub(crate) struct Loan {
    slot: Arc<Slot>,
    /// Of its own gate, and of its group's.
    leases: [Option<Lease>; 2],
}

#[derive(Clone, Copy)]
struct Lease {
    /// What the gate said when it was lent.
    seen: Stamp,
    /// Whether it was still out.
    was_out: bool,
}

impl Loan {
    /// `None` if another request has it.
    pub(super) fn take(slot: &Arc<Slot>, now: &mut LazyNow) -> Option<Box<Self>> {
        // Boxed: it is rare, and every request would carry the room for it.
        let mut loan = Box::new(Self {
            slot: Arc::clone(slot),
            leases: [None; 2],
        });
        // What was taken of two is given back where the other cannot be had.
        for (lease, gate) in loan.leases.iter_mut().zip(slot.gates()) {
            *lease = lend(gate, &slot.shared.rules, now)?;
        }
        Some(loan)
    }

    /// The answer went to the caller. If it was a success the key returns to service, unless it was
    /// marked anew meanwhile. Any other says nothing of the key: it is tried again, after as long as
    /// this time.
    pub(crate) fn answered(mut self: Box<Self>, is_success: bool) {
        if !is_success {
            self.settle(|rules, gate, lease| give_back(rules, gate, lease, 0));
            return;
        }
        let mut returned = false;
        self.settle(|_, gate, lease| returned |= gate.reinstate_seen(lease.seen));
        if returned {
            self.slot.shared.tell(|| PoolEvent::Returned {
                key: self.slot.name(),
                by: ReturnedBy::Trial,
            });
        }
    }

    /// The key was refused again, and marked for it: the next trial is twice as far off.
    pub(crate) fn refused(mut self: Box<Self>) {
        self.settle(|rules, gate, lease| give_back(rules, gate, lease, 1));
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
        self.settle(|_, gate, lease| {
            gate.trial.update(lease.seen, |offer| offer.held = false);
        });
        // Whoever waits may try it now, or use it.
        self.slot.shared.line.stir();
    }
}

/// `Some(None)` where there is nothing to lend: it may be used as it is.
#[allow(clippy::option_option)]
fn lend(gate: &Gate, rules: &Rules, now: &mut LazyNow) -> Option<Option<Lease>> {
    let seen = gate.stamp();
    let was_out = match gate.standing(rules, now) {
        Standing::Open => return Some(None),
        Standing::Shut => return None,
        Standing::Returned { .. } => false,
        Standing::Due => true,
    };
    gate.trial
        .take(seen)
        .then_some(Some(Lease { seen, was_out }))
}

fn give_back(rules: &Rules, gate: &Gate, lease: Lease, doublings: u32) {
    let now = LazyNow::default().get();
    gate.trial.update(lease.seen, |offer| {
        offer.held = false;
        if lease.was_out {
            offer.doublings += doublings;
            offer.due = rules.next_trial(now, offer.doublings);
        }
    });
}
