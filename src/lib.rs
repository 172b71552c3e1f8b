//! Automatic API-key failover for tower HTTP clients and proxies.

pub mod policy;
pub mod pool;

mod body;
mod future;
mod info;
mod layer;
mod play;
mod service;
mod sync;

pub use self::body::{ReplayBudget, RequestBody, RequestBodyError, ResponseBody};
pub use self::future::ResponseFuture;
pub use self::info::{Attempt, FailoverInfo, Outcome, Replay};
pub use self::layer::KeyFailoverLayer;
pub use self::policy::{Mark, ProviderPolicy, Reason, Verdict};
pub use self::pool::KeyPool;
pub use self::service::KeyFailover;

/// Any error, as tower boxes it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
