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
use crate::pool::InFlight;
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
        let in_flight = self.end_in_flight();
        // What follows a 101 is not a body. An empty body is over.
        let in_flight = in_flight
            .filter(|_| head.status != StatusCode::SWITCHING_PROTOCOLS && !body.is_end_stream());
        if late_success.is_some() || in_flight.is_some() {
            body = body.watched(late_success, in_flight);
        }
        let elapsed = self.elapsed();
        let forwarded = self.current.take();
        let forwarded =
            forwarded.map(|current| current.into_record(Verdict::Forward, head.status, elapsed));
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
        let _inside = self.enter();
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
    /// Takes what counts the request as in flight. Dropping it ends that.
    pub(super) fn end_in_flight(&mut self) -> Option<InFlight> {
        self.progress.as_deref_mut()?.in_flight.take()
    }

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
