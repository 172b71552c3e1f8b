//! What can be observed of a pool and of a request: events, metrics, logs, snapshots, usage.
#![allow(unreachable_pub)]

#[cfg(all(
    feature = "events",
    feature = "grpc",
    feature = "metrics",
    feature = "serde",
    feature = "tracing"
))]
mod canary;
#[cfg(feature = "events")]
mod events;
mod failover_info;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "metrics")]
mod recorder;
mod snapshot;
#[cfg(feature = "tracing")]
mod tracing;
mod usage;

/// Lets each test see all that its own thread logs.
///
/// While there is only one subscriber, `tracing` asks the thread that first reaches a log line whether
/// anyone is interested, and remembers the response. That thread can belong to a test without a
/// subscriber. With a second one, all subscribers are asked.
#[cfg(feature = "tracing")]
fn keep_a_second_subscriber() {
    use ::tracing::Dispatch;

    static SECOND: std::sync::OnceLock<Dispatch> = std::sync::OnceLock::new();
    SECOND.get_or_init(|| Dispatch::new(tracing_subscriber::registry()));
}
