//! What is told to logs and metrics: the events of a pool, and what only a request knows. Without the
//! features there is nothing of it.

#[cfg(feature = "tracing")]
mod log;
#[cfg(feature = "metrics")]
mod meter;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod names;
#[cfg(not(feature = "tracing"))]
mod silence;

use crate::failover::{AttemptRecord, FailoverInfo};
#[cfg(any(feature = "metrics", feature = "tracing"))]
use crate::pool::PoolEvent;

#[cfg(feature = "tracing")]
pub(crate) use self::log::{Entered, Trace};
#[cfg(not(feature = "tracing"))]
pub(crate) use self::silence::{Entered, Trace};

/// Something has happened to a pool.
#[cfg(any(feature = "metrics", feature = "tracing"))]
pub(crate) fn told(pool: &str, event: &PoolEvent) {
    #[cfg(feature = "tracing")]
    log::told(pool, event);
    #[cfg(feature = "metrics")]
    meter::told(pool, event);
}

/// An attempt was refused.
#[inline]
pub(crate) fn refused(_pool: &str, _attempted: &AttemptRecord) {
    #[cfg(feature = "metrics")]
    meter::refused(_pool, _attempted);
}

/// A request has its answer.
#[inline]
pub(crate) fn answered(_pool: &str, _info: &FailoverInfo) {
    #[cfg(feature = "tracing")]
    log::answered(_pool, _info);
    #[cfg(feature = "metrics")]
    meter::answered(_pool, _info);
}
