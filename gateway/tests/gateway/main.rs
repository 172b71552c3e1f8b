//! The gateway process, between real clients and a real upstream.

#![allow(unreachable_pub)]

mod support;

mod admin;
mod admin_guard;
mod bad_input;
mod byok;
mod change_keys;
mod client_token;
mod config;
mod connections;
mod deploy;
mod failover;
mod failovers;
#[cfg(feature = "grpc")]
mod grpc;
mod headers;
mod hostile;
mod kubernetes;
mod limits;
mod logs;
mod metrics;
mod readme;
mod recovery;
mod refusals;
mod reload;
#[cfg(feature = "redis")]
mod replicas;
mod safe_by_default;
mod secrets;
mod selection;
mod shutdown;
mod state_file;
mod streaming;
mod target;
mod timing;
mod tls;
mod unreachable;
mod upstream_connections;
mod websocket;
