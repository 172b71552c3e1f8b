//! The pool: which key is usable and until when, and changes of its keys while it is in use.
#![allow(unreachable_pub)]

mod availability;
mod disabled;
mod old_handles;
mod peer;
mod reload;
#[cfg(feature = "serde")]
mod saved_state;
mod settings;
#[cfg(target_os = "linux")]
mod wiped_secrets;
