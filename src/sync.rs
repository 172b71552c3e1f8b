//! The primitives that the models exchange for their own.

#[cfg(not(tower_key_failover_loom))]
pub(crate) use std::sync::{Arc, Mutex, MutexGuard, atomic};

#[cfg(tower_key_failover_loom)]
pub(crate) use loom::sync::{Arc, Mutex, MutexGuard, atomic};
