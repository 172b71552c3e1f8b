//! Examples and tests of `tower-key-failover` with axum, hyper, reqwest, tonic and others.
//!
//! The examples of the guide `stacks` are compiled here, because the root package does not depend on all
//! of these crates.

#[cfg(doctest)]
#[doc = include_str!("../../src/docs/stacks.md")]
mod stacks {}
