//! The limits of a pool as another process sees them.

use std::fmt;
use std::time::Duration;

use crate::pool::reason::Reason;
use crate::pool::scope::Scope;

/// Whose limit it is.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum LimitOwner<'a> {
    /// The key with this secret text. Take care not to log it.
    Key(&'a str),
    /// The group with this name.
    Group(&'a str),
}

/// The state of a limit in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitState {
    /// How often the limit returned from a permanent mark or was reinstated. Marks of attempts that
    /// began in an earlier generation have no effect.
    pub generation: u32,
    /// How often an operator of this process disabled or reinstated the limit.
    pub operator_acts: u32,
    /// Whether the limit can be used.
    pub mark: LimitMark,
    /// Why the limit was last marked or suspected.
    pub reason: Option<Reason>,
}

/// Whether a limit can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitMark {
    /// It can be used.
    Open,
    /// It is cooling down.
    CoolingDown {
        /// How long until it can be used, in whole milliseconds. Never zero.
        remaining: Duration,
    },
    /// It is permanently marked, because a request of this process was refused.
    Permanent,
    /// An operator disabled it.
    Disabled,
}

/// A scope in which a limit is rate-limited.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitedScope {
    /// The scope.
    pub scope: Scope,
    /// How long until it can be used, in whole milliseconds. Never zero.
    pub remaining: Duration,
    /// Why it was limited.
    pub reason: Reason,
}

/// Shows no key.
impl fmt::Debug for LimitOwner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(_) => f.write_str("Key"),
            Self::Group(group) => f.debug_tuple("Group").field(group).finish(),
        }
    }
}
