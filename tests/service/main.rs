//! The service over a mock, with time paused: what happens, in what order.
#![allow(unreachable_pub)]

mod source;
mod support;

mod cancel;
#[cfg(feature = "providers")]
mod conformance;
mod exhaustion;
mod failover;
mod inspect;
mod readiness;
mod replay;
