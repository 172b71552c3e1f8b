use std::fmt;
use std::sync::Arc;

use super::exhausted::exhausted;
use super::list::KeyList;
use crate::pool::clock::LazyNow;
use crate::pool::error::Exhausted;
use crate::pool::key::Key;
use crate::pool::state::Availability;

/// An iterator-like walk over the valid keys of a pool, for one request.
///
/// A walker starts at the first key, returns each key at most once, skips keys that are unusable at
/// that moment, and never goes back. It writes nothing, so walkers do not disturb each other. A
/// walker sees marks made through the keys of another walker at once.
///
/// It follows the order of the pool. [Strategies, tiers](crate::guides::selection), caps and
/// [scopes](crate::guides::scopes) apply only to requests of the layer.
///
/// A walker uses the list of keys as of its creation. A key that was removed since then is unusable.
///
/// ```
/// use tower_key_failover::{ExhaustedKind, KeyPool};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = KeyPool::new(["first-key", "second-key"])?;
/// let mut walker = pool.walker();
///
/// let key = walker.next_key()?;
/// assert_eq!(key.expose_secret(), "first-key");
/// // The provider refuses it.
/// key.mark_permanent();
///
/// assert_eq!(walker.next_key()?.expose_secret(), "second-key");
/// assert_eq!(walker.next_key().unwrap_err().kind, ExhaustedKind::RateLimited);
/// # Ok(())
/// # }
/// ```
pub struct Walker {
    list: Arc<KeyList>,
    next: usize,
}

impl Walker {
    pub(in crate::pool) fn new(list: Arc<KeyList>) -> Self {
        Self { list, next: 0 }
    }

    /// Returns the next key that is valid now. A walker never
    /// [probes](crate::guides::recovery#probes) a key, because only the layer learns how a request
    /// ended.
    ///
    /// # Errors
    ///
    /// Returns [`Exhausted`] if this walk has no key left. The error covers all keys of the list: if
    /// one of them is valid again, the error is `RateLimited` without a wait.
    pub fn next_key(&mut self) -> Result<Key, Exhausted> {
        let mut now = LazyNow::default();
        let clock = self.list.keys[0].limit_config().clock;
        let len = self.list.keys.len();
        while let Some(at) = self
            .list
            .next_open(self.next..len, clock, &mut now, |_| false)
        {
            self.next = at + 1;
            if self.list.keys[at].availability(&mut now) < Availability::ProbeDue {
                return Ok(self.list.handle(at));
            }
        }
        self.next = len;
        Err(exhausted(&self.list, None, |_| false, &mut now))
    }
}

impl fmt::Debug for Walker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walker")
            .field("keys", &self.list.keys)
            .field("next", &self.next)
            .finish()
    }
}
