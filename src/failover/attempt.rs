//! One attempt: while it is under way, and once its response is judged.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use crate::policy::Verdict;
use crate::pool::{Key, PickedBy};

/// An attempt that is under way: its number and its key.
///
/// The request body carries it ([`RequestBody::attempt`](crate::RequestBody::attempt)). With
/// [`KeyFailoverLayer::extensions`](crate::KeyFailoverLayer::extensions), the request's extensions
/// carry it, too.
#[derive(Clone, Debug)]
pub struct Attempt {
    number: usize,
    key: Key,
}

impl Attempt {
    pub(super) fn new(number: usize, key: Key) -> Self {
        Self { number, key }
    }

    /// Returns the number of the attempt within the request, starting at 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// Returns the first and last characters of the key, for people.
    pub fn hint(&self) -> &str {
        self.key.hint()
    }

    /// Returns the label of the key.
    pub fn label(&self) -> Option<&str> {
        self.key.label()
    }

    /// Returns the key, for layers that sign requests with it.
    pub fn key(&self) -> &Key {
        &self.key
    }
}

/// An attempt whose response was judged.
#[derive(Clone)]
pub struct AttemptRecord {
    // Private: access to a response does not give access to the key.
    key: Key,
    picked_by: PickedBy,
    status: StatusCode,
    verdict: Verdict,
    elapsed: Option<Duration>,
}

impl AttemptRecord {
    pub(super) fn new(
        key: Key,
        picked_by: PickedBy,
        status: StatusCode,
        verdict: Verdict,
        elapsed: Option<Duration>,
    ) -> Self {
        Self {
            key,
            picked_by,
            status,
            verdict,
            elapsed,
        }
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// Returns the first and last characters of the key, for people.
    pub fn hint(&self) -> &str {
        self.key.hint()
    }

    /// Returns the label of the key.
    pub fn label(&self) -> Option<&str> {
        self.key.label()
    }

    /// Returns why the attempt used this key.
    pub fn picked_by(&self) -> PickedBy {
        self.picked_by
    }

    /// Returns the status of the provider's response.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the policy's verdict on the response.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Returns the time from calling the inner service to the verdict.
    ///
    /// Returns `None` unless the layer measures [`timings`](crate::KeyFailoverLayer::timings).
    pub fn elapsed(&self) -> Option<Duration> {
        self.elapsed
    }
}

impl fmt::Debug for AttemptRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptRecord")
            .field("hint", &self.hint())
            .field("label", &self.label())
            .field("picked_by", &self.picked_by)
            .field("status", &self.status)
            .field("verdict", &self.verdict)
            .field("elapsed", &self.elapsed)
            .finish()
    }
}
