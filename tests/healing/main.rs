//! Keys that heal, and requests that wait for them, with time paused.
#![allow(unreachable_pub)]

#[path = "../service/source.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod source;
#[path = "../service/support.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod support;

#[allow(dead_code, reason = "each test binary uses its own part")]
mod rig;

mod common_cause;
mod growth;
mod inspected;
mod late;
mod ramp;
mod readiness;
mod revalidate;
mod waiting;
