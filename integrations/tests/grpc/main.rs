//! The layer between tonic's client and tonic's server.
#![allow(unreachable_pub)]

mod messages;

mod grpc_policy;
