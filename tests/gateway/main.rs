//! The example gateway as a process of its own, between real clients and a real upstream.

#![cfg(feature = "providers")]
#![allow(unreachable_pub)]

mod support;

mod admin;
mod bad_input;
mod byok;
mod client_token;
mod failover;
#[cfg(feature = "grpc")]
mod grpc;
mod headers;
mod limits;
mod secrets;
mod shutdown;
mod streaming;
mod tls;
mod unreachable;
mod websocket;
