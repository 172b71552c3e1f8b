//! What this replica sees of its pool, and what it does to it.

use std::time::Duration;

use tower_key_failover::pool::{Reason, Scope};

/// The state of a limit in the pool of this replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalState {
    pub(crate) generation: u32,
    /// How often an operator disabled or reinstated the limit in this process.
    pub(crate) acts: u32,
    pub(crate) mark: LocalMark,
    pub(crate) reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LocalMark {
    Open,
    CoolingDown(Duration),
    Permanent,
    Disabled,
}

/// A scope in which a limit is rate-limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalScope {
    pub(crate) scope: Scope,
    pub(crate) left: Duration,
    pub(crate) reason: Reason,
}

/// What to do with a limit of the pool, because of what other replicas said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    CoolDown {
        left: Duration,
        reason: Reason,
    },
    /// Another replica was rate-limited in a scope, so long ago.
    CoolDownInScope {
        scope: Scope,
        left: Duration,
        age: Duration,
        reason: Reason,
    },
    /// Another replica marked the key permanently.
    Suspect {
        reason: Reason,
    },
    /// A probe of another replica succeeded.
    Probe,
    Disable,
    Reinstate,
}

/// The actions for one limit, in order.
pub(crate) type Actions = (usize, Vec<Action>);
