//! What is measured.

use std::time::Duration;

use tower_key_failover::pool::Selection;

use crate::limit::Kind;

/// How replicas learn of marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    None,
    /// Every 1.5 to 2.5 seconds, 2 on average.
    Polls,
    Pushes,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) kind: Kind,
    pub(crate) sharing: Sharing,
    pub(crate) replicas: usize,
    pub(crate) keys: usize,
    pub(crate) selection: Selection,
    /// Of all replicas together.
    pub(crate) requests_per_second: f64,
    /// How much of what the provider allows they send.
    pub(crate) load: f64,
    /// From a replica to the provider, or back.
    pub(crate) way: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
    pub(crate) seed: u64,
}

impl Scenario {
    /// What the provider allows each key.
    pub(crate) fn allowed_per_second(&self) -> f64 {
        self.requests_per_second / self.load / self.keys as f64
    }
}
