//! Logs and metrics of pools and exchanges. Without their features, nothing is recorded.

#[cfg(feature = "tracing")]
mod log;
#[cfg(feature = "metrics")]
mod meter;
#[cfg(any(feature = "metrics", feature = "tracing"))]
mod names;
#[cfg(not(feature = "tracing"))]
mod no_log;

use crate::failover::{Attempt, AttemptRecord, ExchangeObserver, FailoverInfo};
use crate::pool::{PickedBy, PoolEvent, PoolObserver};

#[cfg(feature = "tracing")]
use self::log::Trace;
#[cfg(not(feature = "tracing"))]
use self::no_log::Trace;

/// Writes logs and metrics, each where its feature is enabled.
pub(crate) struct Telemetry;

impl PoolObserver for Telemetry {
    const ENABLED: bool = cfg!(any(feature = "metrics", feature = "tracing"));

    fn on_event(_pool: &str, _event: &PoolEvent) {
        #[cfg(feature = "tracing")]
        log::on_event(_pool, _event);
        #[cfg(feature = "metrics")]
        meter::on_event(_pool, _event);
    }

    #[cfg(feature = "metrics")]
    fn on_record(pool: &crate::pool::PoolSnapshot) {
        meter::record_keys(pool);
    }
}

impl ExchangeObserver for Telemetry {
    type Span = Trace;

    #[inline]
    fn on_attempt(_pool: &str, _attempt: &Attempt, _picked_by: PickedBy) {
        #[cfg(feature = "tracing")]
        log::on_attempt(_pool, _attempt, _picked_by);
    }

    #[inline]
    fn on_refused(_pool: &str, _attempt: &AttemptRecord) {
        #[cfg(feature = "metrics")]
        meter::on_refused(_pool, _attempt);
    }

    #[inline]
    fn on_response(_pool: &str, _info: &FailoverInfo) {
        #[cfg(feature = "tracing")]
        log::on_response(_pool, _info);
        #[cfg(feature = "metrics")]
        meter::on_response(_pool, _info);
    }
}
