//! What the layer allocates, by count, and what it holds, by the byte.
//!
//! Every allocation of the thread is counted, so each test does all its work on its own.

#![allow(unreachable_pub)]
mod support;

mod allocations;
mod first_frame;
mod freed_keys;
mod reloads;
#[cfg(feature = "providers")]
mod scopes;
mod sizes;
mod small_frames;
#[cfg(feature = "providers")]
mod table;
mod uploads;
