//! The synchronization primitives, which loom replaces in its tests.

#[cfg(not(tower_key_failover_loom))]
pub(crate) use std::sync::{Arc, Mutex, MutexGuard, atomic};

#[cfg(tower_key_failover_loom)]
pub(crate) use loom::sync::{Arc, Mutex, MutexGuard, atomic};

/// The current time. It stands still under loom, since each run must repeat the others.
pub(crate) fn now() -> tokio::time::Instant {
    #[cfg(not(tower_key_failover_loom))]
    return tokio::time::Instant::now();

    #[cfg(tower_key_failover_loom)]
    {
        static NOW: std::sync::OnceLock<tokio::time::Instant> = std::sync::OnceLock::new();
        *NOW.get_or_init(tokio::time::Instant::now)
    }
}
