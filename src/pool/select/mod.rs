//! Selection: the list of keys, and which key a request uses.

mod exhausted;
mod list;
mod pick;
mod probe_order;
mod shards;
mod walker;

pub(super) use self::exhausted::exhausted;
pub(super) use self::list::KeyList;
pub(super) use self::pick::Selector;
pub(crate) use self::pick::{Pick, PickRequest};
pub(super) use self::shards::Shards;
pub use self::walker::Walker;
