//! One request: its attempts with one key after another, and the response that the caller gets.
//!
//! [`KeyFailover::call`](KeyFailover) starts a request, [`ResponseFuture`] drives it, and `exchange`
//! decides each step.

mod attempt;
mod byok_passthrough;
mod config;
mod exchange;
mod future;
mod history;
mod info;
mod late_success;
mod layer;
mod observer;
mod request_body;
mod request_trailers;
mod response_body;
mod service;
mod suspicions;
mod tried_keys;
mod wait;
mod watched_body;

pub use self::attempt::{Attempt, AttemptRecord};
pub use self::future::ResponseFuture;
pub use self::info::{FailoverInfo, Outcome, Replay};
pub use self::layer::KeyFailoverLayer;
pub(crate) use self::observer::{ExchangeObserver, ExchangeSpan};
pub use self::request_body::RequestBody;
pub use self::response_body::ResponseBody;
pub use self::service::KeyFailover;
