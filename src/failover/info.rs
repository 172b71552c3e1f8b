//! How a response came about, as its body and extensions report it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::attempt::AttemptRecord;
use super::history::History;

/// How a response came about: the attempts, and why no other key followed.
///
/// The response body carries it ([`ResponseBody::failover`](crate::ResponseBody::failover)). The
/// response's extensions carry it, too, if the request made more than one attempt or waited for a key,
/// or if the layer responded itself. With
/// [`KeyFailoverLayer::extensions`](crate::KeyFailoverLayer::extensions), they always carry it.
///
/// ```
/// use tower_key_failover::{FailoverInfo, Outcome};
///
/// fn describe(info: &FailoverInfo) -> String {
///     let attempts: Vec<_> = info
///         .history()
///         .map(|attempt| format!("{} with key {}", attempt.status(), attempt.hint()))
///         .collect();
///     match info.outcome() {
///         Outcome::Exhausted => format!("no key is left after {attempts:?}"),
///         _ => format!("{attempts:?}"),
///     }
/// }
/// ```
#[derive(Clone)]
pub struct FailoverInfo {
    history: Option<Arc<History>>,
    /// The attempt whose response is forwarded, unless it was a refusal.
    forwarded: Option<AttemptRecord>,
    outcome: Outcome,
    replay: Replay,
}

impl FailoverInfo {
    pub(super) fn new(
        history: Option<Arc<History>>,
        forwarded: Option<AttemptRecord>,
        outcome: Outcome,
        replay: Replay,
    ) -> Self {
        Self {
            history,
            forwarded,
            outcome,
            replay,
        }
    }

    /// Returns how many attempts were made. Zero if no key was usable.
    pub fn attempts(&self) -> usize {
        self.history().count()
    }

    /// Returns the attempts in order.
    pub fn history(&self) -> impl Iterator<Item = &AttemptRecord> {
        let history = self.history.as_deref();
        history
            .map_or(&[][..], History::refused)
            .iter()
            .chain(&self.forwarded)
    }

    /// Returns the first and last characters of the last attempt's key.
    pub fn hint(&self) -> Option<&str> {
        self.last().map(AttemptRecord::hint)
    }

    /// Returns the label of the last attempt's key.
    pub fn label(&self) -> Option<&str> {
        self.last().and_then(AttemptRecord::label)
    }

    fn last(&self) -> Option<&AttemptRecord> {
        self.history().last()
    }

    /// Returns how long the request [waited for keys](crate::KeyFailoverLayer::wait_for_key) in total.
    pub fn waited(&self) -> Duration {
        self.history
            .as_deref()
            .map_or(Duration::ZERO, History::waited)
    }

    /// Returns who sent the response.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Returns whether the request could have been sent again.
    pub fn replay(&self) -> Replay {
        self.replay
    }

    /// Whether there is more to report than a single attempt.
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

/// Who sent the response that the caller gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The provider, in response to the last attempt.
    Forwarded,
    /// The layer, because no usable key was left.
    Exhausted,
}

/// Whether a request could have been sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Replay {
    /// It could: another key could follow, and everything sent so far was recorded.
    Available,
    /// Nothing was recorded, because no other key could follow the last attempt.
    NotNeeded,
    /// The body is larger than
    /// [`max_replay_bytes`](crate::KeyFailoverLayer::max_replay_bytes).
    TooLarge,
    /// All recorded bodies together would have exceeded the
    /// [`replay_budget`](crate::KeyFailoverLayer::replay_budget).
    OverBudget,
    /// The caller's body failed.
    BodyFailed,
}
