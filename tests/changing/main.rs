//! A pool whose keys change while it is used.
#![allow(unreachable_pub)]

#[path = "../healing/rig.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod rig;
#[path = "../service/support.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod support;

mod groups;
mod memory;
mod model;
mod replace;
mod single_keys;
mod storm;
mod under_way;
