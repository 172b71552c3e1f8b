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
    /// Forwards the response to an attempt whose key was not refused.
    pub(crate) fn forward<R>(
        &mut self,
        mut head: response::Parts,
        mut body: BodyKind<R>,
    ) -> Response<ResponseBody<R>>
    where
        R: Body<Data = Bytes>,
    {
        let late_success = self.record_forwarded(&head, &body);
        self.remove_echoed_keys(&mut head, &mut body);
        if let Some(late_success) = late_success {
            body = body.watched_by(late_success);
        }
        let current = self.current.take();
        let forwarded = current.map(|current| current.into_record(Verdict::Forward, head.status));
        self.respond(head, body, forwarded)
    }

    /// Forwards the response that refused the key. The refusal is part of the history already.
    pub(crate) fn forward_refusal<R>(
        &mut self,
        mut head: response::Parts,
        mut body: BodyKind<R>,
    ) -> Response<ResponseBody<R>>
    where
        R: Body<Data = Bytes>,
    {
        self.remove_echoed_keys(&mut head, &mut body);
        self.respond(head, body, None)
    }

    #[inline]
    fn respond<R: Body>(
        &mut self,
        mut head: response::Parts,
        body: BodyKind<R>,
        forwarded: Option<AttemptRecord>,
    ) -> Response<ResponseBody<R>> {
        let info = self.finish(forwarded, Outcome::Forwarded, head.status);
        if self.config.extensions || info.is_eventful() {
            head.extensions.insert(info.clone());
        }
        Response::from_parts(head, body.with_failover(info))
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
