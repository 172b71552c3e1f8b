//! The bridges of the guide `sdks`, with the real SDKs and a provider on loopback.

mod async_openai;
mod provider;
mod recipes;
mod reqwest_middleware;
mod rig;

#[path = "../../../../src/docs/stacks/reqwest.rs"]
mod adapter;
