//! The response that the caller gets, and the report on how it came about.

use bytes::Bytes;
use http::{Response, StatusCode, response};
use http_body::Body;

use super::Exchange;
use crate::Observer;
use crate::failover::attempt::AttemptRecord;
use crate::failover::info::{FailoverInfo, Outcome, Replay};
use crate::failover::observer::{ExchangeObserver, ExchangeSpan};
use crate::failover::response_body::{BodyKind, ResponseBody};
use crate::policy::{ProviderPolicy, Verdict};
use crate::replay::NotReplayable;

impl<S, P: ProviderPolicy, B> Exchange<S, P, B> {
    /// Forwards the provider's response. A refusal is part of the history already.
    pub(super) fn forward<R>(
        &mut self,
        mut head: response::Parts,
        mut body: BodyKind<R>,
        is_refusal: bool,
    ) -> Response<ResponseBody<R>>
    where
        R: Body<Data = Bytes>,
    {
        let late_success = match is_refusal {
            true => None,
            false => self.record_forwarded(&head, &body),
        };
        self.remove_echoed_keys(&mut head, &mut body);
        let forwarded = self.current.take().filter(|_| !is_refusal);
        let forwarded = forwarded.map(|current| current.into_record(Verdict::Forward, head.status));
        let info = self.finish(forwarded, Outcome::Forwarded, head.status);
        let body = match late_success {
            Some(late_success) => body.watched_by(late_success),
            None => body,
        };
        let mut response = Response::from_parts(head, body);
        if self.config.extensions || info.is_eventful() {
            response.extensions_mut().insert(info.clone());
        }
        response.map(|body| body.with_failover(info))
    }
}

impl<S, P, B> Exchange<S, P, B> {
    /// Ends the recording and the span, and reports how the response came about.
    pub(super) fn finish(
        &mut self,
        forwarded: Option<AttemptRecord>,
        outcome: Outcome,
        status: StatusCode,
    ) -> FailoverInfo {
        if let (Some(parts), Replay::NotNeeded) = (&mut self.replay_parts, self.replay) {
            self.replay = parts.recorder.end().into();
        }
        self.replay_parts = None;
        if let Some(progress) = self.progress.take() {
            progress.span.end(status, outcome);
        }
        let info = FailoverInfo::new(self.history.take(), forwarded, outcome, self.replay);
        Observer::on_response(self.pool().name(), &info);
        info
    }
}

impl From<Option<NotReplayable>> for Replay {
    fn from(why: Option<NotReplayable>) -> Self {
        match why {
            None => Self::Available,
            Some(NotReplayable::TooLarge) => Self::TooLarge,
            Some(NotReplayable::OverBudget) => Self::OverBudget,
            Some(NotReplayable::BodyFailed) => Self::BodyFailed,
        }
    }
}
