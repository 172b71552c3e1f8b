//! What a request can be told of its own failover.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::history::History;
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
    pub(crate) fn new(
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

    pub(crate) fn key(&self) -> &Key {
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
    pub(crate) fn new(
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
    pub(crate) fn is_eventful(&self) -> bool {
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
