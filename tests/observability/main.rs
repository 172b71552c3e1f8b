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
