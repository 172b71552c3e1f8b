//! What an exchange reports to logs and metrics.
//!
//! This module only defines the traits. `crate::Observer` implements them.

use http::StatusCode;

use super::attempt::{Attempt, AttemptRecord};
use super::info::{FailoverInfo, Outcome};
use crate::pool::PickedBy;

/// Receives the reports of all exchanges.
pub(crate) trait ExchangeObserver {
    /// The span of a request whose key was refused.
    type Span: ExchangeSpan;

    /// An attempt starts.
    fn on_attempt(pool: &str, attempt: &Attempt, picked_by: PickedBy);

    /// A key refused the request.
    fn on_refused(pool: &str, attempt: &AttemptRecord);

    /// The caller gets a response.
    fn on_response(pool: &str, info: &FailoverInfo);
}

/// Follows one request. It begins with the first refusal.
pub(crate) trait ExchangeSpan: Default {
    /// While it lives, everything that is reported belongs to the span.
    type Entered;

    /// Whether anything is recorded. If not, there is no need to begin a span.
    const IS_RECORDED: bool;

    /// A key was refused. The first refusal begins the span and enters it.
    fn begin(&mut self, pool: &str) -> Option<Self::Entered>;

    /// Enters the span, if it has begun.
    fn enter(&self) -> Option<Self::Entered>;

    /// The attempt with this number starts.
    fn on_attempt(&mut self, number: usize);

    /// The caller gets a response with this status.
    fn end(self, status: StatusCode, outcome: Outcome);
}
