//! The layer in the stacks it is made for: the real components, over loopback wherever time does
//! not have to stand still.
#![allow(unreachable_pub)]

mod support;

mod axum_router;
mod commit_gate;
mod hyper_client;
mod middleware;
mod recipes;
mod reqwest_client;
mod signing;
mod untouched;

/// The tests of the guide `testing`.
#[path = "../../../src/docs/testing.rs"]
mod testing;
