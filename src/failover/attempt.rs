//! One attempt: while it is under way, and once it has its response.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use crate::policy::Verdict;
use crate::pool::Key;

/// One attempt: its number and its key.
///
/// Rides in the request body ([`RequestBody::attempt`](crate::RequestBody::attempt)) and, with
/// [`KeyFailoverLayer::extensions`](crate::KeyFailoverLayer::extensions), in the request's
/// extensions.
#[derive(Clone, Debug)]
pub struct Attempt {
    number: usize,
    key: Key,
}

impl Attempt {
    pub(super) fn new(number: usize, key: Key) -> Self {
        Self { number, key }
    }

    /// Which attempt of the request this is, from 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The key's ends, for people.
    pub fn hint(&self) -> &str {
        self.key.hint()
    }

    /// The key's label, if it has one.
    pub fn label(&self) -> Option<&str> {
        self.key.label()
    }

    /// The key itself, for layers that sign requests with it.
    pub fn key(&self) -> &Key {
        &self.key
    }
}

/// An attempt that was answered, and what the answer was taken for.
#[derive(Clone)]
pub struct AttemptRecord {
    // Kept private: whoever sees an answer is not given the key.
    key: Key,
    status: StatusCode,
    verdict: Verdict,
    elapsed: Option<Duration>,
}

impl AttemptRecord {
    pub(super) fn new(
        key: Key,
        status: StatusCode,
        verdict: Verdict,
        elapsed: Option<Duration>,
    ) -> Self {
        Self {
            key,
            status,
            verdict,
            elapsed,
        }
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// The ends of the key that it was made with, for people.
    pub fn hint(&self) -> &str {
        self.key.hint()
    }

    /// The label of the key that it was made with, if it has one.
    pub fn label(&self) -> Option<&str> {
        self.key.label()
    }

    /// The status that the provider answered with.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What the policy took the answer for.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// How long it took from handing the request to the inner service until the verdict. Known where
    /// the layer takes [`timings`](crate::KeyFailoverLayer::timings).
    pub fn elapsed(&self) -> Option<Duration> {
        self.elapsed
    }
}

impl fmt::Debug for AttemptRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptRecord")
            .field("hint", &self.hint())
            .field("label", &self.label())
            .field("status", &self.status)
            .field("verdict", &self.verdict)
            .field("elapsed", &self.elapsed)
            .finish()
    }
}
