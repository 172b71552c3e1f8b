use smallvec::SmallVec;

use crate::pool::{Cause, Key, Suspicion};

/// The keys that a request suspects: each was refused, but perhaps because of the request.
#[derive(Default)]
pub(super) struct Suspicions(SmallVec<[(Key, Suspicion, Cause); 1]>);

impl Suspicions {
    /// After this many suspicions, the request tries no other key.
    const MAX: usize = 3;

    pub(super) fn add(&mut self, key: &Key, cause: Cause) {
        let suspicion = key.suspect(cause);
        self.0.push((key.clone(), suspicion, cause));
    }

    /// Whether the request suspects so many keys that it is probably at fault itself.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= Self::MAX
    }

    /// Marks the suspected keys permanently, because the request succeeded with the key `by`. The
    /// refusals were therefore not its fault.
    pub(super) fn convict(&mut self, by: &Key) {
        let suspected = self.0.drain(..);
        for (key, suspicion, cause) in suspected.filter(|(key, ..)| !key.is_same(by)) {
            key.convict(suspicion, cause);
        }
    }
}
