//! The layer between real peers over loopback, on HTTP/1.1 and HTTP/2.

#![allow(unreachable_pub)]

mod bidirectional;
mod connections;
mod failures;
#[cfg(feature = "providers")]
mod hostile;
mod limits;
#[cfg(feature = "providers")]
mod model_scope;
mod passthrough;
mod refusals;
#[cfg(feature = "providers")]
mod scopes;
mod small_frames;
mod streaming;
mod transport;
mod upgrade;
