//! The state of a key, and of a group of keys: marks, cooldowns, recovery and probes.

mod atomic_state;
mod cell;
mod config;
mod cooldown;
mod limit;
mod mark;
mod permit;
mod pool_probes;
mod probe_interval;
mod probe_schedule;
mod reopening;
mod success;
mod suspicion;
mod trust;

use std::time::Duration;

pub(super) use self::atomic_state::StateValue;
#[cfg(test)]
pub(super) use self::atomic_state::{AtomicState, Deadline};
pub(super) use self::cell::StateCell;
pub(super) use self::config::LimitConfig;
pub(super) use self::cooldown::CooldownRules;
pub(super) use self::limit::{Availability, Limit, is_valid};
pub(super) use self::permit::{Permit, ProbeKind, Taken, Terms};
pub(super) use self::pool_probes::PoolProbes;
pub(super) use self::probe_interval::ProbeRules;
#[cfg(test)]
pub(super) use self::probe_schedule::ProbeSchedule;
pub(super) use self::probe_schedule::ProbeToken;
pub(crate) use self::trust::Suspicion;

/// What a mark changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Marked {
    /// The key's state changed: a valid key cools down or is permanently marked, or a key that was
    /// cooling down is permanently marked.
    Transitioned,
    /// The key was cooling down already, and its cooldown is longer now.
    Extended,
    /// Nothing changed: the key already had an equal or longer mark, or the handle is older than the
    /// key's last return to service.
    Unchanged,
}

/// Whether a key can be used, at the moment of the call. States are ordered from usable to unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeyState {
    /// The key can be used.
    Valid,
    /// The key is cooling down.
    Temporary {
        /// How long until the key can be used again, in whole milliseconds. Never zero.
        retry_after: Duration,
    },
    /// The key is permanently marked.
    Permanent,
}
