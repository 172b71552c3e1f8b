use std::sync::Arc;

use http::StatusCode;

use crate::pool::error::Exhausted;
use crate::pool::reason::Reason;
use crate::pool::scope::Scope;
use crate::pool::state::{KeyState, Marked};

/// An event in the life of a pool.
///
/// The end of a cooldown is not an event, because no timer watches for it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PoolEvent {
    /// A key was marked, or its cooldown was extended.
    #[non_exhaustive]
    Marked {
        /// The key. A temporary mark of a key in a group applies to the whole group.
        key: KeyName,
        /// The scope that the mark is limited to. `None` if it applies to all requests.
        scope: Option<Scope>,
        /// The state that the mark sets.
        state: KeyState,
        /// Whether the state changed or a cooldown was extended.
        marked: Marked,
        /// Why the key was marked.
        reason: Reason,
        /// The status of the response that refused the key, if a response did.
        status: Option<StatusCode>,
    },
    /// A key was refused, perhaps because of the request. The key stays valid, but keys with fewer
    /// suspicions come first.
    #[non_exhaustive]
    Suspected {
        /// The key.
        key: KeyName,
        /// The number of suspicions since the last success with the key.
        suspicions: u32,
        /// Why the key was refused.
        reason: Reason,
        /// The status of the response that refused the key, if a response did.
        status: Option<StatusCode>,
    },
    /// A request succeeded with a suspected key, which cleared all suspicions.
    #[non_exhaustive]
    Trusted {
        /// The key.
        key: KeyName,
    },
    /// A key was returned to service before the end of its mark, or a request was the first to succeed
    /// after it.
    #[non_exhaustive]
    Returned {
        /// The key.
        key: KeyName,
        /// Who returned it.
        by: ReturnedBy,
    },
    /// A request found no usable key, or no further one after a refusal.
    #[non_exhaustive]
    Exhausted {
        /// Why, and how long until a key returns.
        exhausted: Exhausted,
    },
    /// The list of keys changed. Concurrent changes can be reported in any order.
    #[non_exhaustive]
    Changed {
        /// The keys that were added, in the pool's order.
        added: Vec<KeyName>,
        /// The keys that were removed.
        removed: Vec<KeyName>,
    },
    /// The subscriber was too slow, and the oldest events were dropped.
    #[non_exhaustive]
    Missed {
        /// The number of dropped events.
        events: u64,
    },
}

/// Who returned a key to service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReturnedBy {
    /// An operator.
    Operator,
    /// A request that probed it.
    Probe,
    /// An operator of another replica. See [`pool::peer`](crate::pool::peer).
    Peer,
}

/// The public names of a key. It is not a handle and keeps no key alive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct KeyName {
    /// The key's label, if it has one.
    pub label: Option<Arc<str>>,
    /// The first and last characters of the key.
    pub hint: Arc<str>,
    /// The key's group, if it has one.
    pub group: Option<Arc<str>>,
}
