//! What a request can be told of its own failover.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::attempt::AttemptRecord;
use super::history::History;

/// How an answer came about.
///
/// Rides in the response body ([`ResponseBody::failover`](crate::ResponseBody::failover)). It is in
/// the response's extensions as well whenever something happened: more than one attempt was made,
/// the request waited for a key, or the layer answered itself; and always with
/// [`KeyFailoverLayer::extensions`](crate::KeyFailoverLayer::extensions).
#[derive(Clone)]
pub struct FailoverInfo {
    history: Option<Arc<History>>,
    /// The attempt whose answer the caller gets, if it was not one that refused the key.
    answered: Option<AttemptRecord>,
    outcome: Outcome,
    replay: Replay,
}

impl FailoverInfo {
    pub(super) fn new(
        history: Option<Arc<History>>,
        answered: Option<AttemptRecord>,
        outcome: Outcome,
        replay: Replay,
    ) -> Self {
        Self {
            history,
            answered,
            outcome,
            replay,
        }
    }

    /// How many attempts were made. Zero where no key was to be had.
    pub fn attempts(&self) -> usize {
        self.history().count()
    }

    /// The attempts, in order.
    pub fn history(&self) -> impl Iterator<Item = &AttemptRecord> {
        let history = self.history.as_deref();
        history
            .map_or(&[][..], History::refused)
            .iter()
            .chain(&self.answered)
    }

    /// The ends of the key that the last attempt was made with.
    pub fn hint(&self) -> Option<&str> {
        self.last().map(AttemptRecord::hint)
    }

    /// The label of the key that the last attempt was made with, if it has one.
    pub fn label(&self) -> Option<&str> {
        self.last().and_then(AttemptRecord::label)
    }

    fn last(&self) -> Option<&AttemptRecord> {
        self.history().last()
    }

    /// How long the request waited for keys to return, in all, where the layer
    /// [lets it](crate::KeyFailoverLayer::wait_for_key).
    pub fn waited(&self) -> Duration {
        self.history
            .as_deref()
            .map_or(Duration::ZERO, History::waited)
    }

    /// Whose answer it is.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Whether the request could have been sent again.
    pub fn replay(&self) -> Replay {
        self.replay
    }

    /// Whether anything happened that the caller could not have had without the layer.
    pub(super) fn is_eventful(&self) -> bool {
        self.history.is_some() && (self.attempts() > 1 || !self.waited().is_zero())
            || self.outcome == Outcome::Exhausted
    }
}

impl fmt::Debug for FailoverInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailoverInfo")
            .field("history", &self.history().collect::<Vec<_>>())
            .field("waited", &self.waited())
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
