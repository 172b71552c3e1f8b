use std::time::Duration;

use smallvec::SmallVec;

use super::attempt::AttemptRecord;

/// The refused attempts of a request, and how long the request waited for keys.
///
/// A request without refusals and waits has no history. A history does not change once it is part of
/// a [`FailoverInfo`](super::FailoverInfo).
#[derive(Clone, Default)]
pub(super) struct History {
    // Most requests that are refused are refused once.
    refused: SmallVec<[AttemptRecord; 2]>,
    waited: Duration,
}

impl History {
    pub(super) fn push(&mut self, refused: AttemptRecord) {
        self.refused.push(refused);
    }

    pub(super) fn add_wait(&mut self, took: Duration) {
        self.waited += took;
    }

    pub(super) fn refused(&self) -> &[AttemptRecord] {
        &self.refused
    }

    pub(super) fn waited(&self) -> Duration {
        self.waited
    }
}
