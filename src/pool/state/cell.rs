//! The part of a limit that a search through a long list of keys reads.
//!
//! A list keeps a pointer to the cell of each of its keys. A search therefore skips unusable keys
//! without reading the keys themselves, and a cell lives as long as its key.

use super::atomic_state::AtomicState;
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
}
