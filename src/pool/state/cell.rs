//! The part of a limit that a search through a long list of keys reads.
//!
//! A list keeps a pointer to the cell of each of its keys. A search therefore skips unusable keys
//! without reading the keys themselves, and a cell lives as long as its key.

use super::atomic_state::{AtomicState, Deadline, StateValue};
use super::config::LimitConfig;
use super::probe_schedule::ProbeSchedule;

pub(in crate::pool) struct StateCell {
    pub(in crate::pool) state: AtomicState,
    pub(super) probes: ProbeSchedule,
}

impl StateCell {
    pub(super) fn new() -> Self {
        Self {
            state: AtomicState::new(),
            probes: ProbeSchedule::new(),
        }
    }

    /// When a limit in `state` is due for a probe because it is closed, in milliseconds since the
    /// pool's epoch. 0 means never.
    #[inline]
    pub(in crate::pool) fn probe_due_at(&self, state: StateValue, config: &LimitConfig) -> u64 {
        match state.deadline() {
            Deadline::None | Deadline::Suspected | Deadline::Disabled => 0,
            Deadline::At(_) if !config.probes.probes_cooldowns => 0,
            Deadline::At(_) | Deadline::Permanent => self.probes.plan(state).due,
        }
    }
}
