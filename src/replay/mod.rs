//! Records a request while it is sent, so that it can be sent again.

mod budget;
mod buffer;
mod error;
mod head;
mod recording;

#[cfg(all(test, tower_key_failover_loom))]
mod loom_tests;

pub use self::budget::ReplayBudget;
pub use self::error::RequestBodyError;

pub(crate) use self::buffer::{NotReplayable, Reader, Recorder};
