//! A pool itself: what its keys have in common, and the list of them that there is now.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::list::List;
use super::shared::Shared;

pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    pub(super) list: ArcSwap<List>,
    /// Held by whoever makes the next list of the present one.
    changing: Mutex<()>,
}

impl Inner {
    pub(super) fn new(shared: Arc<Shared>, list: List) -> Self {
        Self {
            shared,
            list: ArcSwap::from_pointee(list),
            changing: Mutex::new(()),
        }
    }

    pub(super) fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
