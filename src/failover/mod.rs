//! One request: its attempts with one key after another, and the response that the caller gets.

mod config;
mod exchange;
mod future;
mod history;
mod info;
mod layer;
mod request_body;
mod response_body;
mod service;
mod suspects;
mod wait;

pub use self::future::ResponseFuture;
pub use self::info::{Attempt, AttemptRecord, FailoverInfo, Outcome, Replay};
pub use self::layer::KeyFailoverLayer;
pub use self::request_body::RequestBody;
pub use self::response_body::ResponseBody;
pub use self::service::KeyFailover;
