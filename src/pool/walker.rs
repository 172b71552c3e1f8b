use std::sync::Arc;

use super::clock::LazyNow;
use super::error::Exhausted;
use super::key::Key;
use super::keys::Keys;

/// One request's walk over a pool's keys.
///
/// It starts at the first key, hands out each key at most once, skips what is out at that moment
/// and never goes back. It writes nothing: two walkers do not disturb each other, and each sees
/// the marks that the other's keys are given at once.
#[derive(Debug)]
pub struct Walker {
    keys: Arc<Keys>,
    next: usize,
}

impl Walker {
    pub(super) fn new(keys: Arc<Keys>) -> Self {
        Self { keys, next: 0 }
    }

    /// The next key that is valid now.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] when none is left to this walk. It is computed over the whole pool: where
    /// some key is valid all the same, it is `RateLimited` without a wait.
    pub fn next_key(&mut self) -> Result<Key, Exhausted> {
        let mut now = LazyNow::default();
        match self.keys.pick(self.next, &mut now) {
            Some(picked) => {
                self.next = picked.index() + 1;
                Ok(Key::new(&self.keys, picked))
            }
            None => {
                self.next = self.keys.len();
                Err(self.keys.exhausted(&[], &mut now))
            }
        }
    }
}
