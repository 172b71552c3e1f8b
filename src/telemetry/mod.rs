//! What is told to logs and metrics: the events of a pool, and what only a request knows. Without the
//! features there is nothing of it.

#[cfg(feature = "metrics")]
mod meter;
#[cfg(feature = "metrics")]
mod names;

use crate::info::{Attempted, FailoverInfo};
#[cfg(feature = "metrics")]
use crate::pool::PoolEvent;

/// Something has happened to a pool.
#[cfg(feature = "metrics")]
pub(crate) fn told(pool: &str, event: &PoolEvent) {
    meter::told(pool, event);
}

/// An attempt was refused.
pub(crate) fn refused(_pool: &str, _attempted: &Attempted) {
    #[cfg(feature = "metrics")]
    meter::refused(_pool, _attempted);
}

/// A request has its answer.
pub(crate) fn answered(_pool: &str, _info: &FailoverInfo) {
    #[cfg(feature = "metrics")]
    meter::answered(_pool, _info);
}
