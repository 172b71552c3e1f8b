//! Limits of a key, or of a group of keys, that apply to one scope, such as a model.
//!
//! An entry exists only as long as it is needed, so a pool without marks of scopes stores nothing for them, and its
//! requests allocate nothing for them.

mod doubt;
mod limits;
mod mark;
mod table;

#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests;

pub(crate) use self::doubt::ScopeDoubt;
pub(super) use self::limits::{ScopedPermits, SeenInScope};
#[cfg(feature = "serde")]
pub(super) use self::table::Purpose;
pub(super) use self::table::Scopes;
