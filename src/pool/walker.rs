use std::fmt;
use std::sync::Arc;

use super::clock::LazyNow;
use super::error::Exhausted;
use super::gate::Standing;
use super::key::Key;
use super::list::List;

/// One request's walk over a pool's keys.
///
/// It starts at the first key, hands out each key at most once, skips what is out at that moment
/// and never goes back. It writes nothing: two walkers do not disturb each other, and each sees
/// the marks that the other's keys are given at once.
///
/// The keys are those that the pool held when the walk began; one that was removed since is out.
pub struct Walker {
    list: Arc<List>,
    next: usize,
}

impl Walker {
    pub(super) fn new(list: Arc<List>) -> Self {
        Self { list, next: 0 }
    }

    /// The next key that is valid now. One that is out is never [tried](crate::guides::recovery#probes) here:
    /// that takes a request through the layer, which learns how it ended.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] when none is left to this walk. It is computed over all keys that the pool
    /// held when the walk began: where some key is valid all the same, it is `RateLimited` without
    /// a wait.
    pub fn next_key(&mut self) -> Result<Key, Exhausted> {
        let mut now = LazyNow::default();
        let rules = &self.list.slots[0].shared.rules;
        while let Some(at) = self.list.next(self.next, rules, &mut now) {
            self.next = at + 1;
            if self.list.slots[at].standing(rules, &mut now) < Standing::Due {
                return Ok(self.list.key(at));
            }
        }
        self.next = self.list.slots.len();
        Err(self.list.exhausted(|_| false, &mut now))
    }
}

impl fmt::Debug for Walker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walker")
            .field("keys", &self.list.slots)
            .field("next", &self.next)
            .finish()
    }
}
