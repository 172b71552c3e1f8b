//! Examples and tests of `tower-key-failover` with axum, hyper, reqwest, tonic and others.
//!
//! The tests compile and call the recipes of the guide `stacks`, because the root package does not depend on
//! all of these crates.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
