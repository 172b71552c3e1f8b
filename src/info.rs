//! What a request can be told of its own failover.

use std::fmt;

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
    pub(crate) fn new(number: usize, key: Key) -> Self {
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

/// How an answer came about.
///
/// Rides in the response body ([`ResponseBody::failover`](crate::ResponseBody::failover)). It is in
/// the response's extensions as well whenever something happened: more than one attempt was made,
/// or the layer answered itself; and always with
/// [`KeyFailoverLayer::extensions`](crate::KeyFailoverLayer::extensions).
#[derive(Clone)]
pub struct FailoverInfo {
    attempts: usize,
    // Kept private: whoever sees an answer is not given the key.
    key: Option<Key>,
    outcome: Outcome,
    replay: Replay,
}

impl FailoverInfo {
    pub(crate) fn new(attempts: usize, key: Option<Key>, outcome: Outcome, replay: Replay) -> Self {
        Self {
            attempts,
            key,
            outcome,
            replay,
        }
    }

    /// How many attempts were made. Zero where no key was to be had.
    pub fn attempts(&self) -> usize {
        self.attempts
    }

    /// The ends of the key that the last attempt was made with.
    pub fn hint(&self) -> Option<&str> {
        self.key.as_ref().map(Key::hint)
    }

    /// The label of the key that the last attempt was made with, if it has one.
    pub fn label(&self) -> Option<&str> {
        self.key.as_ref().and_then(Key::label)
    }

    /// Whose answer it is.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Whether the request could have been sent again.
    pub fn replay(&self) -> Replay {
        self.replay
    }
}

impl fmt::Debug for FailoverInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailoverInfo")
            .field("attempts", &self.attempts)
            .field("hint", &self.hint())
            .field("label", &self.label())
            .field("outcome", &self.outcome)
            .field("replay", &self.replay)
            .finish()
    }
}

/// Whose answer the caller gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The provider's, to the last attempt.
    Forwarded,
    /// This layer's: no key could follow the last one that was refused, or none was to be had.
    Exhausted,
}

/// Whether a request could have been sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Replay {
    /// It could: another key could follow, and all that was sent had been recorded.
    Available,
    /// No other key could follow the last attempt, so nothing was recorded.
    NotNeeded,
    /// Its body is larger than
    /// [`max_replay_bytes`](crate::KeyFailoverLayer::max_replay_bytes).
    TooLarge,
    /// All requests together would have held more than the
    /// [`replay_budget`](crate::KeyFailoverLayer::replay_budget).
    OverBudget,
    /// The caller's body failed.
    BodyFailed,
}
