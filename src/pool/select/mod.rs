//! Selection: the list of keys, and which key a request uses.

mod check;
mod exhausted;
mod list;
mod pick;
mod probe_order;
mod rank;
mod rendezvous;
mod search;
mod selection;
mod shards;
mod spare;
#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests;
mod turns;
mod walk;
mod walker;

pub(super) use self::exhausted::exhausted;
pub(super) use self::list::KeyList;
pub(super) use self::pick::Selector;
pub(crate) use self::pick::{Pick, PickRequest};
pub(super) use self::rendezvous::Identity;
pub use self::rendezvous::session_id;
pub use self::selection::Selection;
pub(super) use self::shards::Shards;
pub use self::walker::Walker;
