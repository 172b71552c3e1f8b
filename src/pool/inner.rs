//! A pool itself: what its keys have in common, and the list of them that there is now.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::copies::Copies;
use super::list::List;
use super::shared::Shared;

pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    pub(super) copies: ArcSwap<Copies>,
    /// Held by whoever makes the next list of the present one.
    changing: Mutex<()>,
}

impl Inner {
    pub(super) fn new(shared: Arc<Shared>, list: List) -> Self {
        Self {
            shared,
            copies: ArcSwap::from_pointee(Copies::of(list)),
            changing: Mutex::new(()),
        }
    }

    /// The list that there is now. To look at it once, `copies` are borrowed without counting.
    pub(super) fn list(&self) -> Arc<List> {
        Arc::clone(self.copies.load().own())
    }

    pub(super) fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
