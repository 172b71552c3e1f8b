//! Records a request while it is sent, so that it can be sent again.
//!
//! A [`Recorder`] controls the recording. Each attempt reads it through a [`Reader`].

mod budget;
mod buffer;
mod error;
mod reader;
mod recorded_head;
mod recorder;
mod recording;
mod small_frames;

#[cfg(all(test, tower_key_failover_loom))]
mod loom_tests;

pub use self::budget::ReplayBudget;
pub use self::error::RequestBodyError;

pub(crate) use self::buffer::NotReplayable;
pub(crate) use self::reader::Reader;
pub(crate) use self::recorder::Recorder;
