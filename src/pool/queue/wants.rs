//! Which keys a waiter can use.

use smallvec::SmallVec;

use crate::pool::key_choice::KeyChoice;
use crate::pool::pooled_key::{KeyIdentity, PooledKey};

#[derive(Clone, Default)]
pub(in crate::pool) struct Wants {
    /// The keys that it has tried and does not try again.
    pub(in crate::pool) excluded: SmallVec<[KeyIdentity; 2]>,
    pub(in crate::pool) choice: Option<KeyChoice>,
    /// Whether it has probed a key, and probes no other.
    pub(in crate::pool) has_probed: bool,
}

impl Wants {
    /// Whether the waiter can use a key, if the key and its scope are open.
    pub(super) fn include(&self, key: &PooledKey) -> bool {
        let choice = self.choice.as_ref();
        !self.excluded.contains(&key.id()) && choice.is_none_or(|choice| choice.allows(key))
    }

    /// Whether the waiter can use a key, if the key itself is open.
    pub(super) fn allows(&self, key: &PooledKey) -> bool {
        let scope = self.choice.as_ref().and_then(KeyChoice::scope_ref);
        self.include(key) && key.in_scope(scope).admit(key.limit_config())
    }

    /// Whether it finds nothing where a waiter with `other` wants finds nothing.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        let mut excluded = other.excluded.iter();
        excluded.all(|key| self.excluded.contains(key))
            && (self.has_probed || !other.has_probed)
            && match (&self.choice, &other.choice) {
                (_, None) => true,
                (None, Some(other)) => KeyChoice::default().is_within(other),
                (Some(choice), Some(other)) => choice.is_within(other),
            }
    }
}
