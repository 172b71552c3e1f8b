//! The life of one request: over a mock service, with time paused.
#![allow(unreachable_pub)]

mod availability_laws;
mod cancel;
mod cancel_at_every_await;
mod caps;
#[cfg(feature = "providers")]
mod conformance;
mod contract;
mod echoed_keys;
mod exhaustion;
mod inspect;
mod key_choice;
#[cfg(feature = "providers")]
mod late_errors;
#[cfg(feature = "providers")]
mod late_success;
#[cfg(feature = "providers")]
mod laws;
mod model;
mod order;
mod readiness;
mod recovery;
mod replay;
#[cfg(feature = "providers")]
mod request_trailers;
mod scoped_requests;
mod scopes;
mod suspicion;
