//! What the built-in policies make of requests and responses.
#![cfg(feature = "providers")]
#![allow(unreachable_pub)]

mod byok;
mod evidence;
mod exhausted_response;
#[cfg(feature = "grpc")]
mod grpc;
mod hostile_bodies;
mod injection;
mod overrides;
mod provider_vectors;
mod scope;
mod timing_hints;
