//! One cause is not as many dead keys: when all of a request's keys are refused alike, something
//! else than the keys is wrong.

use crate::pool::{Cause, Key};

/// The keys that this request put out for a while only, though they were refused for good: no other
/// key has told yet whether it was the key.
#[derive(Default)]
pub(crate) struct Suspects {
    keys: Vec<(Key, Cause)>,
}

impl Suspects {
    /// One more refusal for good. Those that were refused otherwise before it are convicted.
    pub(crate) fn add(&mut self, key: Key, cause: Cause) {
        if self.keys.last().is_some_and(|(_, last)| *last != cause) {
            self.convict();
        }
        key.put_out(None, cause);
        self.keys.push((key, cause));
    }

    /// Another key was answered otherwise: it was the keys.
    pub(crate) fn convict(&mut self) {
        for (key, cause) in self.keys.drain(..) {
            key.put_out_for_good(cause);
        }
    }

    /// How many keys in a row were refused alike.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}
