//! What can be seen of a pool, and of a request that came through it.
#![allow(unreachable_pub)]

#[path = "../healing/rig.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod rig;
#[path = "../service/support.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod support;

mod info;
mod snapshot;
mod usage;
