//! One cause is not as many dead keys: when all of a request's keys are refused alike, something
//! else than the keys is wrong.

use crate::pool::{Cause, Key};

/// The keys that this request put out for a while only, though they were refused for good: no other
/// key has told yet whether it was the key.
#[derive(Default)]
pub(super) struct Suspects {
    keys: Vec<(Key, Cause)>,
}

impl Suspects {
    /// One more refusal for good. Those that were refused otherwise before it are convicted.
    pub(super) fn add(&mut self, key: Key, cause: Cause) {
        if self.keys.last().is_some_and(|(_, last)| *last != cause) {
            self.convict(&key);
        }
        key.suspect(cause);
        // Refused before a wait and after it, it is one key.
        self.keys.retain(|(other, _)| !other.is_same(&key));
        self.keys.push((key, cause));
    }

    /// A key was answered otherwise: it was the others.
    pub(super) fn convict(&mut self, by: &Key) {
        for (key, cause) in self.keys.drain(..).filter(|(key, _)| !key.is_same(by)) {
            key.mark_permanently(cause);
        }
    }

    /// How many keys in a row were refused alike.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}
