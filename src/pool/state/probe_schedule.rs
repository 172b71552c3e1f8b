//! When a limit is probed. One request at a time probes it, for at most five seconds.
//!
//! An atomic value next to the limit's state:
//! `due (40 bits) | generation (16) | doublings (7) | taken (1)`. It belongs to one generation of the
//! state and has no effect in any other, so nothing has to clear it. While a probe is taken, `due` is
//! the time at which another request may take it over.

use crate::sync::atomic::{AtomicU64, Ordering};

use super::atomic_state::StateValue;

const TAKEN: u64 = 1;
const DOUBLINGS_SHIFT: u32 = 1;
const DOUBLINGS_MASK: u64 = 0x7f;
const GENERATION_SHIFT: u32 = 8;
const DUE_SHIFT: u32 = 24;

#[derive(Debug)]
pub(in crate::pool) struct ProbeSchedule(AtomicU64);

/// One value of a [`ProbeSchedule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pool) struct Plan {
    /// When the next probe is due, in milliseconds since the pool's epoch. 0 means never.
    pub(in crate::pool) due: u64,
    generation: u16,
    /// How often the interval has doubled in this generation.
    pub(in crate::pool) doublings: u32,
    /// Whether a request is probing now.
    pub(in crate::pool) taken: bool,
}

/// The right to finish the probe that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pool) struct ProbeToken(u64);

impl Plan {
    fn empty(state: StateValue) -> Self {
        Self {
            due: 0,
            generation: state.generation() as u16,
            doublings: 0,
            taken: false,
        }
    }

    fn unpack(value: u64) -> Self {
        Self {
            due: value >> DUE_SHIFT,
            generation: (value >> GENERATION_SHIFT) as u16,
            doublings: ((value >> DOUBLINGS_SHIFT) & DOUBLINGS_MASK) as u32,
            taken: value & TAKEN != 0,
        }
    }

    fn pack(self) -> u64 {
        (self.due.min(StateValue::LATEST) << DUE_SHIFT)
            | (u64::from(self.generation) << GENERATION_SHIFT)
            | (u64::from(self.doublings).min(DOUBLINGS_MASK) << DOUBLINGS_SHIFT)
            | (if self.taken { TAKEN } else { 0 })
    }
}

impl ProbeSchedule {
    pub(in crate::pool) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The plan for a limit in `state`.
    pub(in crate::pool) fn plan(&self, state: StateValue) -> Plan {
        read(self.0.load(Ordering::Relaxed), state)
    }

    /// Takes the probe until `expires`, unless the `plan` has changed. Exactly one of several
    /// concurrent calls succeeds.
    pub(in crate::pool) fn take(
        &self,
        state: StateValue,
        plan: Plan,
        expires: u64,
    ) -> Option<ProbeToken> {
        let value = self.0.load(Ordering::Relaxed);
        if is_newer(value, state) || read(value, state) != plan {
            return None;
        }
        let taken = Plan {
            taken: true,
            due: expires,
            ..plan
        };
        self.replace(value, taken)
            .then_some(ProbeToken(taken.pack()))
    }

    /// Ends the probe that `token` identifies, unless it has expired and was taken over, or the limit
    /// was marked in the meantime.
    pub(in crate::pool) fn finish(&self, token: ProbeToken, change: impl FnOnce(&mut Plan)) {
        let mut plan = Plan::unpack(token.0);
        plan.taken = false;
        change(&mut plan);
        self.replace(token.0, plan);
    }

    /// Changes the plan of the generation of `state`, unless a newer generation has begun. A probe in
    /// progress can no longer finish.
    pub(in crate::pool) fn update(&self, state: StateValue, change: impl Fn(&mut Plan)) {
        loop {
            let value = self.0.load(Ordering::Relaxed);
            if is_newer(value, state) {
                return;
            }
            let mut plan = read(value, state);
            plan.taken = false;
            change(&mut plan);
            if self.replace(value, plan) {
                return;
            }
        }
    }

    fn replace(&self, seen: u64, by: Plan) -> bool {
        self.0
            .compare_exchange(seen, by.pack(), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

/// Whether `value` belongs to a later generation than `state`.
fn is_newer(value: u64, state: StateValue) -> bool {
    let plan = Plan::unpack(value);
    let ahead = plan.generation.wrapping_sub(state.generation() as u16) as i16;
    ahead > 0 && (plan.taken || plan.due != 0)
}

fn read(value: u64, state: StateValue) -> Plan {
    let plan = Plan::unpack(value);
    if plan.generation == state.generation() as u16 {
        plan
    } else {
        Plan::empty(state)
    }
}
