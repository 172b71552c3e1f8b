//! What a crate needs to share the marks of a pool with other processes.
//!
//! A [`PeerPool`] shows the limits of a pool: one for each key, and one for each group. Marks of this
//! process are read with [`PeerLimit::state`] and [`PeerLimit::limited_scopes`], after
//! [`PeerPool::changed`]. Marks of other processes are applied with [`PeerLimit::hear`]. Requests do not
//! notice any of it.
//!
//! A permanent mark of another process is no proof, because that process may be misconfigured. It
//! [raises a suspicion](Heard::Refused). The requests of this process clear the suspicion or mark the key
//! permanently.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use tower_key_failover::pool::peer::{Heard, LimitMark, PeerPool};
//! use tower_key_failover::pool::{KeyPool, KeyState, Reason};
//!
//! # fn main() -> Result<(), tower_key_failover::pool::BuildError> {
//! let here = Arc::new(KeyPool::new(["sk-first-0123456789ab", "sk-second-0123456789"])?);
//! let there = Arc::new(KeyPool::new(["sk-first-0123456789ab", "sk-second-0123456789"])?);
//!
//! here.keys().next().unwrap().mark_temporary(Some(Duration::from_secs(5)));
//!
//! let (from, to) = (PeerPool::new(here), PeerPool::new(Arc::clone(&there)));
//! for (from, to) in from.limits().zip(to.limits()) {
//!     if let LimitMark::CoolingDown { remaining } = from.state().mark {
//!         let heard = Heard::CoolingDown { remaining, reason: Reason::RateLimited };
//!         assert!(to.hear(to.state().generation, heard));
//!     }
//! }
//! assert!(matches!(there.states()[..], [KeyState::Temporary { .. }, KeyState::Valid]));
//! # Ok(())
//! # }
//! ```

mod heard;
mod limit;
mod state;
#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

pub use self::heard::Heard;
pub use self::limit::PeerLimit;
pub use self::state::{LimitMark, LimitOwner, LimitState, LimitedScope};
use super::KeyPool;
use super::pooled_key::{Group, PooledKey};
use super::select::KeyList;

/// The limits of a pool, for a crate that shares them.
pub struct PeerPool {
    pool: Arc<KeyPool>,
    list: Arc<KeyList>,
    /// The keys, then one key of each group.
    limits: Vec<(usize, Part)>,
    seen: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Key,
    Group,
}

impl PeerPool {
    /// Shows the limits that `pool` has now.
    pub fn new(pool: Arc<KeyPool>) -> Self {
        let list = pool.list();
        Self {
            limits: limits_of(&list),
            list,
            pool,
            seen: 0,
        }
    }

    /// Adopts the current list of keys. Returns whether it has other keys, groups or an other order, in
    /// which case the limits have other positions.
    pub fn refresh(&mut self) -> bool {
        let list = self.pool.list();
        let is_same = is_same(&list, &self.list);
        if !is_same {
            self.limits = limits_of(&list);
        }
        self.list = list;
        !is_same
    }

    /// Returns all limits of the list that was adopted last.
    pub fn limits(&self) -> impl ExactSizeIterator<Item = PeerLimit<'_>> {
        (0..self.limits.len()).map(|position| self.limit(position))
    }

    /// Returns the limit at `position`.
    ///
    /// # Panics
    ///
    /// Panics if there are not that many limits.
    pub fn limit(&self, position: usize) -> PeerLimit<'_> {
        let (at, part) = self.limits[position];
        let key = &*self.list.keys[at];
        PeerLimit::new(key, part)
    }

    /// Waits until a key was marked, returned to service, added or removed since the last call. Several
    /// changes count as one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no change.
    pub async fn changed(&mut self) {
        let changes = &self.pool.shared.changes;
        poll_fn(|cx| changes.poll_changed(&mut self.seen, cx)).await;
    }
}

fn limits_of(list: &KeyList) -> Vec<(usize, Part)> {
    let mut limits: Vec<_> = (0..list.keys.len()).map(|at| (at, Part::Key)).collect();
    let mut groups: Vec<&Arc<Group>> = Vec::new();
    for (at, key) in list.keys.iter().enumerate() {
        if let Some(group) = &key.group
            && !groups.iter().any(|known| Arc::ptr_eq(known, group))
        {
            groups.push(group);
            limits.push((at, Part::Group));
        }
    }
    limits
}

/// Whether both lists have the same keys, secrets and groups at the same positions.
fn is_same(one: &KeyList, other: &KeyList) -> bool {
    let group = |key: &PooledKey| key.group.as_ref().map(Arc::as_ptr);
    one.keys.len() == other.keys.len()
        && one.keys.iter().zip(&other.keys).all(|(one, other)| {
            Arc::ptr_eq(&one.core, &other.core)
                && Arc::ptr_eq(&one.secret, &other.secret)
                && group(one) == group(other)
        })
}

impl fmt::Debug for PeerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerPool")
            .field("limits", &self.limits.len())
            .finish_non_exhaustive()
    }
}
