//! How one request's body is played again, and how an answer's body is read and handed on.

mod budget;
mod decode;
mod error;
mod head;
mod inspection;
mod json_escape;
mod recording;
mod redaction;
mod request;
mod response;
mod tape;

#[cfg(all(test, tower_key_failover_loom))]
mod models;

pub use self::budget::ReplayBudget;
pub use self::error::RequestBodyError;
pub use self::request::RequestBody;
pub use self::response::ResponseBody;

pub(crate) use self::inspection::{Inspection, Reach};
pub(crate) use self::redaction::{Forms, redact_headers};
pub(crate) use self::response::Answer;
pub(crate) use self::tape::{Recorder, Unrepeatable, View};
