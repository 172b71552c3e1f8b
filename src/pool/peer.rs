//! What a crate needs to share the marks of a pool with other processes.
//!
//! A [`PeerPool`] shows the limits of a pool: one for each key, and one for each group. It does not show
//! marks of [scopes](crate::guides::scopes). Marks of this process are read with [`PeerLimit::state`],
//! after [`PeerPool::changed`]. Marks of other processes are applied with [`PeerLimit::hear`]. Requests do
//! not notice any of it.
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

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use super::KeyPool;
use super::clock::LazyNow;
use super::observe::{PoolEvent, ReturnedBy};
use super::pooled_key::{Group, PooledKey};
use super::reason::{Cause, Reason};
use super::select::KeyList;
use super::state::{KeyState, Limit, Marked};

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

/// One limit of a pool: that of a key, or that of a group.
pub struct PeerLimit<'a> {
    key: &'a PooledKey,
    limit: &'a Limit,
    part: Part,
}

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

/// What another process says about a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heard {
    /// It is cooling down. The [maximum](super::KeyPoolBuilder::max_cooldown) of this pool applies. A
    /// longer cooldown of this process stays.
    CoolingDown {
        /// For how long.
        remaining: Duration,
        /// Why.
        reason: Reason,
    },
    /// Its key was marked permanently. This raises a suspicion: the key stays usable, but other keys
    /// come first.
    Refused {
        /// Why.
        reason: Reason,
    },
    /// A probe has returned its key to service. A permanently marked key of this process is due for a
    /// probe, if the pool probes keys.
    Works,
    /// An operator disabled it.
    Disabled,
    /// An operator reinstated it.
    Reinstated,
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
        let group = key.group.as_deref().filter(|_| part == Part::Group);
        PeerLimit {
            key,
            limit: group.map_or(&key.core.limit, |group| &group.limit),
            part,
        }
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

impl PeerLimit<'_> {
    /// Returns whose limit it is.
    pub fn owner(&self) -> LimitOwner<'_> {
        match (self.part, &self.key.group) {
            (Part::Group, Some(group)) => LimitOwner::Group(&group.name),
            _ => LimitOwner::Key(self.key.secret.expose()),
        }
    }

    /// Returns the current state.
    pub fn state(&self) -> LimitState {
        let config = self.key.limit_config();
        let operator_acts = self.limit.operator_acts();
        let generation = self.limit.value().generation();
        let mark = match self.limit.state(config, &mut LazyNow::default()) {
            KeyState::Valid => LimitMark::Open,
            KeyState::Temporary { retry_after } => LimitMark::CoolingDown {
                remaining: retry_after,
            },
            KeyState::Permanent if self.limit.is_disabled() => LimitMark::Disabled,
            // Nobody needs to hear about a key that this process no longer has.
            KeyState::Permanent if self.limit.is_removed() => LimitMark::Open,
            KeyState::Permanent => LimitMark::Permanent,
        };
        LimitState {
            generation,
            operator_acts,
            mark,
            reason: self.limit.reason(),
        }
    }

    /// Applies what another process says. `seen` is the generation of the limit that the caller knows:
    /// if it has ended, only what operators do still applies.
    ///
    /// Returns whether anything changed.
    pub fn hear(&self, seen: u32, heard: Heard) -> bool {
        let is_current = self.limit.value().generation() == seen;
        match heard {
            Heard::CoolingDown { remaining, reason } => {
                is_current && self.cool_down(remaining, Cause::of(reason))
            }
            Heard::Refused { reason } => {
                let is_usable = self.state().mark != LimitMark::Permanent;
                self.part == Part::Key
                    && is_current
                    && is_usable
                    && self.key.suspect(self.key.seen(), Cause::of(reason)).count > 0
            }
            Heard::Works => is_current && self.limit.probe_now(self.key.limit_config()),
            Heard::Disabled => {
                let marked = self.limit.disable();
                let cause = Cause::of(Reason::Operator);
                self.key
                    .after_mark(marked, None, KeyState::Permanent, cause);
                marked != Marked::Unchanged
            }
            Heard::Reinstated => self.reinstate(),
        }
    }

    fn cool_down(&self, remaining: Duration, cause: Cause) -> bool {
        let (config, now) = (self.key.limit_config(), &mut LazyNow::default());
        let hint = Some(remaining).filter(|remaining| !remaining.is_zero());
        if hint.is_none() {
            return false;
        }
        let wait = self.limit.cooldown(config, hint, now);
        let seen = self.limit.value();
        let marked = self.limit.cool_down(config, seen, wait, false, cause, now);
        let state = KeyState::Temporary { retry_after: wait };
        self.key.after_mark(marked, None, state, cause);
        marked != Marked::Unchanged
    }

    fn reinstate(&self) -> bool {
        let was_closed = self.limit.reinstate(self.key.limit_config());
        let shared = &self.key.shared;
        shared.changes.notify();
        if was_closed {
            shared.on_event(|| PoolEvent::Returned {
                key: self.key.name(),
                by: ReturnedBy::Peer,
            });
        }
        shared.queue.wake();
        was_closed
    }
}

impl fmt::Debug for PeerPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerPool")
            .field("limits", &self.limits.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PeerLimit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerLimit")
            .field("key", &self.key)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
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
