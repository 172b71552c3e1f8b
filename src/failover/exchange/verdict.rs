//! What an answer comes to: a mark, the next key's current, or what the caller is told.

use bytes::Bytes;
use http::{Response, StatusCode, response};
use http_body::Body;

use super::{CurrentAttempt, Exchange, Next, unshared};
use crate::failover::info::{AttemptRecord, FailoverInfo, Outcome, Replay};
use crate::failover::response_body::{BodyKind, ResponseBody};
use crate::inspect::{Forms, Inspection, ReadLimit, redact_headers};
use crate::policy::{MarkKind, ProviderPolicy, Verdict};
use crate::pool::Cause;
use crate::replay::NotReplayable;
use crate::sse;
use crate::telemetry::{self, Entered};

/// What the head of an answer comes to.
pub(crate) enum Classified {
    Judged(Verdict),
    /// The body is to be read so far, and judged then.
    Read(ReadLimit),
}

/// What a verdict comes to.
pub(crate) enum Settled<R: Body> {
    Response(Response<ResponseBody<R>>),
    /// The refused answer is to be let go.
    Refused(BodyKind<R>, Next),
}

impl<S, P, B> Exchange<S, P, B> {
    /// Writes what an answer says of the key: its mark, and how a trial of it ended.
    ///
    /// Where the verdict is `in_doubt` no key is put out for good.
    fn mark(&mut self, verdict: Verdict, status: StatusCode, in_doubt: bool) {
        let CurrentAttempt { key, loan, .. } = self.current.as_mut().expect("an attempt has a key");
        let loan = loan.take();
        let Verdict::Failover(mark) = verdict else {
            key.served(is_success(status));
            if let Some(history) = &mut self.history {
                unshared(history).suspects.convict(key);
            }
            if let Some(loan) = loan {
                loan.answered(is_success(status));
            }
            return;
        };
        let reason = mark.reason(status);
        let cause = Cause {
            reason,
            status: Some(status),
        };
        key.refused(reason);
        match mark.kind() {
            MarkKind::Permanent if in_doubt || self.config.common_cause.is_some() => {
                let history = self.history.get_or_insert_default();
                unshared(history).suspects.add(key.clone(), cause);
            }
            MarkKind::Permanent => drop(key.put_out_for_good(cause)),
            MarkKind::Temporary(wait) => drop(key.put_out(wait, cause)),
            MarkKind::Keep => {}
        }
        if let (Some(history), false) = (&mut self.history, mark.kind() == MarkKind::Permanent) {
            unshared(history).suspects.convict(key);
        }
        match loan {
            Some(loan) if mark.kind() == MarkKind::Keep => loan.answered(false),
            Some(loan) => loan.refused(),
            None => {}
        }
    }

    /// A request whose key is refused is traced from then on.
    fn trace(&mut self, verdict: Verdict) -> Option<Entered> {
        if !matches!(verdict, Verdict::Failover(_)) {
            return None;
        }
        let history = unshared(self.history.get_or_insert_default());
        history.trace.begin(self.config.pool.as_deref()?.name())
    }

    /// Goes where what happens to the request is told.
    pub(crate) fn enter(&self) -> Option<Entered> {
        self.history.as_deref()?.trace.enter()
    }

    fn push_past(&mut self, verdict: Verdict, status: StatusCode) {
        let current = self.current.as_ref().expect("an attempt has a key");
        let attempted = AttemptRecord::new(current.key.clone(), status, verdict, current.elapsed());
        if matches!(verdict, Verdict::Failover(_)) {
            telemetry::refused(self.pool().name(), &attempted);
        }
        self.history().push(attempted);
    }

    /// Ends the recording, having asked why it ended before, and says how the answer came about.
    fn finish(
        &mut self,
        answered: Option<AttemptRecord>,
        outcome: Outcome,
        status: StatusCode,
    ) -> FailoverInfo {
        if let (Some(parts), Replay::NotNeeded) = (&mut self.replay_parts, self.replay) {
            self.replay = parts.recorder.end().into();
        }
        self.replay_parts = None;
        if let Some(history) = &mut self.history {
            std::mem::take(&mut unshared(history).trace).end(status, outcome);
        }
        let info = FailoverInfo::new(self.history.take(), answered, outcome, self.replay);
        telemetry::answered(self.pool().name(), &info);
        info
    }
}

fn is_success(status: StatusCode) -> bool {
    status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS
}

impl<S, P: ProviderPolicy, B> Exchange<S, P, B> {
    pub(crate) fn classify(&self, head: &response::Parts) -> Classified {
        let policy = &self.config.policy;
        match (policy.classify(head), self.config.commit_gate) {
            (Verdict::Inspect, _) => Classified::Read(ReadLimit::Refusal),
            (Verdict::Peek, _) => Classified::Read(ReadLimit::FirstFrame(policy.peek_timeout())),
            (Verdict::Forward, Some(gate))
                if policy.may_fail_late(head) && sse::is_plain_stream(&head.headers) =>
            {
                Classified::Read(gate)
            }
            (verdict, _) => Classified::Judged(verdict),
        }
    }

    pub(crate) fn judge<R>(&self, head: &response::Parts, body: &Inspection<R>) -> Verdict
    where
        R: Body<Data = Bytes>,
    {
        if !body.is_evidence() {
            return Verdict::Forward;
        }
        body.show(&head.headers, |evidence| {
            self.config.policy.classify_body(head, evidence)
        })
    }

    /// Marks the key by what came of an answer that nobody waits for any more. Where that was the
    /// head alone, the body might have said to keep the key.
    pub(crate) fn abandon<R>(&mut self, head: &response::Parts, body: &Inspection<R>)
    where
        R: Body<Data = Bytes>,
    {
        let _inside = self.enter();
        let verdict = self.judge(head, body);
        // Nothing was refused in what came: that proves nothing.
        if let Verdict::Failover(_) = verdict {
            self.mark(verdict, head.status, body.is_unread());
        }
    }

    /// Marks the key, and takes the next one, waits for one, or answers the caller.
    pub(crate) fn settle<R>(
        &mut self,
        verdict: Verdict,
        head: response::Parts,
        body: BodyKind<R>,
    ) -> Settled<R>
    where
        R: Body<Data = Bytes>,
    {
        let _inside = self.trace(verdict);
        self.mark(verdict, head.status, false);
        let Verdict::Failover(mark) = verdict else {
            return Settled::Response(self.forward(head, body, false));
        };
        self.push_past(verdict, head.status);
        if let Some(next) = self.next(mark) {
            return Settled::Refused(body, next);
        }
        Settled::Response(match mark.kind() {
            MarkKind::Keep => self.forward(head, body, true),
            MarkKind::Temporary(_) | MarkKind::Permanent => self.exhausted(),
        })
    }

    /// The answer goes to the caller. One that refused the key is in the history already.
    fn forward<R>(
        &mut self,
        mut head: response::Parts,
        mut body: BodyKind<R>,
        is_refusal: bool,
    ) -> Response<ResponseBody<R>>
    where
        R: Body<Data = Bytes>,
    {
        let secret = self.key().expose_secret();
        if is_refusal {
            // It may stand in the head alone, and so may the key in it.
            redact_headers(&mut head.headers, &Forms::of(secret));
        }
        if !body.redact(&head.headers, secret, is_refusal) {
            if !is_refusal {
                self.push_past(Verdict::Forward, head.status);
            }
            return self.exhausted();
        }
        let answered = self.current.take().filter(|_| !is_refusal);
        let answered = answered.map(|current| current.into_record(Verdict::Forward, head.status));
        let info = self.finish(answered, Outcome::Forwarded, head.status);
        let mut response = Response::from_parts(head, body);
        if self.config.extensions || info.is_eventful() {
            response.extensions_mut().insert(info.clone());
        }
        response.map(|body| body.with_failover(info))
    }

    /// The answer to a request for which no key is left.
    pub(crate) fn exhausted<R: Body>(&mut self) -> Response<ResponseBody<R>> {
        let exhausted = self.pool().exhausted(self.kept());
        self.pool().tell_exhausted(exhausted);
        let mut response = self.config.policy.exhausted_response(&exhausted);
        let info = self.finish(None, Outcome::Exhausted, response.status());
        response.extensions_mut().insert(info.clone());
        response.map(|data| BodyKind::Own { data }.with_failover(info))
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
