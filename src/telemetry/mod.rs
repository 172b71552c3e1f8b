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
use crate::pool::{PoolEvent, PoolObserver};

#[cfg(feature = "tracing")]
use self::log::Trace;
#[cfg(not(feature = "tracing"))]
use self::silence::Trace;

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
    fn on_record(pool: &str, states: &[crate::pool::KeyState]) {
        meter::record_states(pool, states);
    }
}

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
