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

use crate::failover::{AttemptRecord, ExchangeObserver, FailoverInfo};
#[cfg(any(feature = "metrics", feature = "tracing"))]
use crate::pool::PoolEvent;

#[cfg(feature = "tracing")]
use self::log::Trace;
#[cfg(not(feature = "tracing"))]
use self::silence::Trace;

/// Something has happened to a pool.
#[cfg(any(feature = "metrics", feature = "tracing"))]
pub(crate) fn told(pool: &str, event: &PoolEvent) {
    #[cfg(feature = "tracing")]
    log::told(pool, event);
    #[cfg(feature = "metrics")]
    meter::told(pool, event);
}

/// Writes logs and metrics, each where its feature is enabled.
pub(crate) struct Telemetry;

impl ExchangeObserver for Telemetry {
    type Span = Trace;

    #[inline]
    fn on_refused(_pool: &str, _attempt: &AttemptRecord) {
        #[cfg(feature = "metrics")]
        meter::refused(_pool, _attempt);
    }

    #[inline]
    fn on_response(_pool: &str, _info: &FailoverInfo) {
        #[cfg(feature = "tracing")]
        log::answered(_pool, _info);
        #[cfg(feature = "metrics")]
        meter::answered(_pool, _info);
    }
}
