use std::fmt;

use crate::sync::Arc;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// Limits the memory that the recorded request bodies of one or more layers hold together.
///
/// A request that would exceed the budget stops recording and keeps streaming. It can then no longer
/// be sent again, which [`FailoverInfo::replay`](crate::FailoverInfo::replay) reports.
///
/// Clones share the budget, so several layers can use one.
///
/// # Examples
///
/// ```
/// use tower_key_failover::ReplayBudget;
///
/// let budget = ReplayBudget::new(256 << 20);
/// assert_eq!(budget.held(), 0);
/// ```
#[derive(Clone)]
pub struct ReplayBudget {
    shared: Arc<Shared>,
}

struct Shared {
    limit: usize,
    held: AtomicUsize,
}

impl ReplayBudget {
    /// Creates a budget of `bytes`.
    pub fn new(bytes: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                limit: bytes,
                held: AtomicUsize::new(0),
            }),
        }
    }

    /// Returns the budget, in bytes.
    pub fn limit(&self) -> usize {
        self.shared.limit
    }

    /// Returns how many bytes are held now.
    pub fn held(&self) -> usize {
        self.shared.held.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.shared.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts `bytes`, unless that would exceed the budget.
    fn try_add(&self, bytes: usize) -> bool {
        let before = self.shared.held.fetch_add(bytes, Ordering::Relaxed);
        let fits = before
            .checked_add(bytes)
            .is_some_and(|held| held <= self.shared.limit);
        if !fits {
            self.sub(bytes);
        }
        fits
    }

    fn sub(&self, bytes: usize) {
        self.shared.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl fmt::Debug for ReplayBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBudget")
            .field("limit", &self.limit())
            .field("held", &self.held())
            .finish()
    }
}

/// The part of the budget that one recording holds. Dropping it returns the part.
#[derive(Debug)]
pub(super) struct Share {
    budget: ReplayBudget,
    held: usize,
}

impl Share {
    pub(super) fn of(budget: ReplayBudget) -> Self {
        Self { budget, held: 0 }
    }

    /// Counts `bytes`, unless that would exceed the budget.
    pub(super) fn try_hold(&mut self, bytes: usize) -> bool {
        let fits = self.budget.try_add(bytes);
        if fits {
            self.held += bytes;
        }
        fits
    }

    /// Counts `bytes` that are held even if they exceed the budget.
    pub(super) fn hold(&mut self, bytes: usize) {
        self.budget.add(bytes);
        self.held += bytes;
    }

    pub(super) fn release(&mut self, bytes: usize) {
        self.held -= bytes;
        self.budget.sub(bytes);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.sub(self.held);
    }
}
