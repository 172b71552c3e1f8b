use std::sync::Arc;

use super::usage::KeyUsage;
use crate::pool::reason::Reason;
use crate::pool::scope::Scope;
use crate::pool::state::KeyState;

/// The state of a pool at one moment, for status pages and alerts. It contains no key.
///
/// [`KeyPool::snapshot`](crate::KeyPool::snapshot) returns it.
///
/// ```
/// use tower_key_failover::{KeyPool, KeyState};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = KeyPool::new(["sk-first-0123456789ab", "sk-second-0123456789"])?;
/// let snapshot = pool.snapshot();
///
/// assert!(snapshot.has_trusted_key());
/// assert_eq!(&*snapshot.keys[0].hint, "sk-f...89ab");
/// assert_eq!(snapshot.keys[0].state, KeyState::Valid);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolSnapshot {
    /// The pool's name.
    pub name: Box<str>,
    /// The pool's keys, in order.
    pub keys: Vec<KeySnapshot>,
}

impl PoolSnapshot {
    /// Returns whether a key is valid and not suspected. If none is, the pool may still serve requests
    /// with suspected keys, but needs attention.
    pub fn has_trusted_key(&self) -> bool {
        let mut keys = self.keys.iter();
        keys.any(|key| key.state == KeyState::Valid && key.suspicions == 0)
    }
}

/// The state of a key at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeySnapshot {
    /// The key's label, if it has one.
    pub label: Option<Arc<str>>,
    /// The first and last characters of the key.
    pub hint: Box<str>,
    /// The key's group, if it has one.
    pub group: Option<Arc<str>>,
    /// Whether the key can be used, and if not, for how long.
    pub state: KeyState,
    /// How often the key was refused, perhaps because of the request, since the last success with it.
    /// Keys with fewer suspicions are used first.
    pub suspicions: u32,
    /// Why the key was last marked or suspected, or its group marked. `None` if that has not happened
    /// since the key was added or [reinstated](crate::KeyPool::reinstate).
    pub reason: Option<Reason>,
    /// How many requests are in flight with the key, if they are counted: if the key has a
    /// [cap](crate::pool::NewKey::max_in_flight), or if the pool uses
    /// [`Selection::least_in_flight`](crate::pool::Selection::least_in_flight).
    pub in_flight: Option<u32>,
    /// The scopes in which the key or its group is marked, in alphabetical order.
    pub scopes: Vec<ScopeSnapshot>,
    /// How often the key was used, if the pool
    /// [counts that](crate::KeyPoolBuilder::track_usage).
    pub usage: Option<KeyUsage>,
}

/// The state of a key in one scope, such as a model.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScopeSnapshot {
    /// The scope.
    pub scope: Scope,
    /// For how long the key cannot be used in this scope.
    pub state: KeyState,
    /// Why the key was last marked in this scope.
    pub reason: Option<Reason>,
}
