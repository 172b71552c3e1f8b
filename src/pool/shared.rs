//! What all keys of a pool share, across reloads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::changes::Changes;
use super::observe::{Observers, PoolEvent};
use super::queue::WaitQueue;
use super::select::Selection;
use super::state::LimitConfig;

pub(super) struct Shared {
    pub(super) config: PoolConfig,
    pub(super) queue: Arc<WaitQueue>,
    pub(super) observers: Observers,
    pub(super) changes: Changes,
    /// Held while a new list of keys is made from the current one.
    reload: Mutex<()>,
}

#[derive(Debug)]
pub(super) struct PoolConfig {
    pub(super) name: Box<str>,
    pub(super) limits: LimitConfig,
    pub(super) selection: Selection,
    /// How many requests can be in flight with the keys of a group together.
    pub(super) group_caps: HashMap<Arc<str>, u32>,
    pub(super) track_usage: bool,
    pub(super) max_waiters: usize,
}

impl Shared {
    pub(super) fn new(config: PoolConfig) -> Self {
        Self {
            queue: Arc::new(WaitQueue::new(config.max_waiters)),
            observers: Observers::default(),
            changes: Changes::new(),
            reload: Mutex::new(()),
            config,
        }
    }

    pub(super) fn on_event(&self, event: impl FnOnce() -> PoolEvent) {
        self.observers.on_event(&self.config.name, event);
    }

    pub(super) fn lock_reload(&self) -> MutexGuard<'_, ()> {
        self.reload.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
