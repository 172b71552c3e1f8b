//! What an answer comes to: a mark, the next key's turn, or what the caller is told.

use bytes::Bytes;
use http::{Response, StatusCode, response};
use http_body::Body;

use super::{Next, Play, Turn, unshared};
use crate::failover::info::{Attempted, FailoverInfo, Outcome, Replay};
use crate::failover::response_body::{Answer, ResponseBody};
use crate::inspect::{Forms, Inspection, Reach, redact_headers};
use crate::policy::{MarkKind, ProviderPolicy, Verdict};
use crate::pool::Cause;
use crate::replay::Unrepeatable;
use crate::sse;
use crate::telemetry::{self, Entered};

/// What the head of an answer comes to.
pub(crate) enum Classified {
    Judged(Verdict),
    /// The body is to be read so far, and judged then.
    Read(Reach),
}

/// What a verdict comes to.
pub(crate) enum Settled<R: Body> {
    Answer(Response<ResponseBody<R>>),
    /// The refused answer is to be let go.
    Refused(Answer<R>, Next),
}

impl<S, P, B> Play<S, P, B> {
    /// Writes what an answer says of the key: its mark, and how a trial of it ended.
    ///
    /// Where the verdict is `in_doubt` no key is put out for good.
    fn mark(&mut self, verdict: Verdict, status: StatusCode, in_doubt: bool) {
        let Turn { key, loan, .. } = self.turn.as_mut().expect("an attempt has a key");
        let loan = loan.take();
        let Verdict::Failover(mark) = verdict else {
            key.served(is_success(status));
            if let Some(past) = &mut self.past {
                unshared(past).suspects.convict(key);
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
            MarkKind::Permanent if in_doubt || self.settings.common_cause.is_some() => {
                let past = self.past.get_or_insert_default();
                unshared(past).suspects.add(key.clone(), cause);
            }
            MarkKind::Permanent => drop(key.put_out_for_good(cause)),
            MarkKind::Temporary(wait) => drop(key.put_out(wait, cause)),
            MarkKind::Keep => {}
        }
        if let (Some(past), false) = (&mut self.past, mark.kind() == MarkKind::Permanent) {
            unshared(past).suspects.convict(key);
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
        let past = unshared(self.past.get_or_insert_default());
        past.trace.begin(self.settings.pool.as_deref()?.name())
    }

    /// Goes where what happens to the request is told.
    pub(crate) fn enter(&self) -> Option<Entered> {
        self.past.as_deref()?.trace.enter()
    }

    fn push_past(&mut self, verdict: Verdict, status: StatusCode) {
        let turn = self.turn.as_ref().expect("an attempt has a key");
        let attempted = Attempted::new(turn.key.clone(), status, verdict, turn.elapsed());
        if matches!(verdict, Verdict::Failover(_)) {
            telemetry::refused(self.pool().name(), &attempted);
        }
        self.past().push(attempted);
    }

    /// Ends the recording, having asked why it ended before, and says how the answer came about.
    fn finish(
        &mut self,
        answered: Option<Attempted>,
        outcome: Outcome,
        status: StatusCode,
    ) -> FailoverInfo {
        if let (Some(again), Replay::NotNeeded) = (&mut self.again, self.replay) {
            self.replay = again.recorder.end().into();
        }
        self.again = None;
        if let Some(past) = &mut self.past {
            std::mem::take(&mut unshared(past).trace).end(status, outcome);
        }
        let info = FailoverInfo::new(self.past.take(), answered, outcome, self.replay);
        telemetry::answered(self.pool().name(), &info);
        info
    }
}

fn is_success(status: StatusCode) -> bool {
    status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS
}

impl<S, P: ProviderPolicy, B> Play<S, P, B> {
    pub(crate) fn classify(&self, head: &response::Parts) -> Classified {
        let policy = &self.settings.policy;
        match (policy.classify(head), self.settings.commit_gate) {
            (Verdict::Inspect, _) => Classified::Read(Reach::Refusal),
            (Verdict::Peek, _) => Classified::Read(Reach::FirstFrame(policy.peek_timeout())),
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
            self.settings.policy.classify_body(head, evidence)
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
        body: Answer<R>,
    ) -> Settled<R>
    where
        R: Body<Data = Bytes>,
    {
        let _inside = self.trace(verdict);
        self.mark(verdict, head.status, false);
        let Verdict::Failover(mark) = verdict else {
            return Settled::Answer(self.forward(head, body, false));
        };
        self.push_past(verdict, head.status);
        if let Some(next) = self.next(mark) {
            return Settled::Refused(body, next);
        }
        Settled::Answer(match mark.kind() {
            MarkKind::Keep => self.forward(head, body, true),
            MarkKind::Temporary(_) | MarkKind::Permanent => self.exhausted(),
        })
    }

    /// The answer goes to the caller. One that refused the key is in the past already.
    fn forward<R>(
        &mut self,
        mut head: response::Parts,
        mut body: Answer<R>,
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
        let answered = self.turn.take().filter(|_| !is_refusal);
        let answered = answered.map(|turn| turn.into_attempted(Verdict::Forward, head.status));
        let info = self.finish(answered, Outcome::Forwarded, head.status);
        let mut response = Response::from_parts(head, body);
        if self.settings.extensions || info.is_eventful() {
            response.extensions_mut().insert(info.clone());
        }
        response.map(|body| body.with_failover(info))
    }

    /// The answer to a request for which no key is left.
    pub(crate) fn exhausted<R: Body>(&mut self) -> Response<ResponseBody<R>> {
        let exhausted = self.pool().exhausted(self.kept());
        self.pool().tell_exhausted(exhausted);
        let mut response = self.settings.policy.exhausted_response(&exhausted);
        let info = self.finish(None, Outcome::Exhausted, response.status());
        response.extensions_mut().insert(info.clone());
        response.map(|data| Answer::Own { data }.with_failover(info))
    }
}

impl From<Option<Unrepeatable>> for Replay {
    fn from(why: Option<Unrepeatable>) -> Self {
        match why {
            None => Self::Available,
            Some(Unrepeatable::TooLarge) => Self::TooLarge,
            Some(Unrepeatable::OverBudget) => Self::OverBudget,
            Some(Unrepeatable::BodyFailed) => Self::BodyFailed,
        }
    }
}
