//! The verdict on a response: it marks the key, and decides what follows.

use bytes::Bytes;
use http::{Response, StatusCode, response};
use http_body::Body;

use super::{CurrentAttempt, Entered, Exchange, Next};
use crate::Observer;
use crate::failover::attempt::AttemptRecord;
use crate::failover::observer::{ExchangeObserver, ExchangeSpan};
use crate::failover::response_body::{BodyKind, ResponseBody};
use crate::inspect::{Inspection, ReadLimit};
use crate::policy::{MarkKind, ProviderPolicy, Verdict};
use crate::pool::Cause;
use crate::sse;

/// What the head of a response leads to.
pub(crate) enum Classified {
    Judged(Verdict),
    /// The body is read up to this limit, and judged then.
    Read(ReadLimit),
}

/// What a verdict leads to.
pub(crate) enum Settled<R: Body> {
    /// The caller gets this response.
    Response(Response<ResponseBody<R>>),
    /// The refused response is discarded.
    Refused(BodyKind<R>, Next),
}

impl<S, P: ProviderPolicy, B> Exchange<S, P, B> {
    /// Judges a response by its head.
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

    /// Judges a response by its head and what was read of its body.
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

    /// Marks the key by what was read of a response whose caller is gone.
    ///
    /// If only the head was read, the body might have said to keep the key.
    pub(crate) fn abandon<R>(&mut self, head: &response::Parts, body: &Inspection<R>)
    where
        R: Body<Data = Bytes>,
    {
        let _inside = self.enter();
        let verdict = self.judge(head, body);
        // A response that was not read to its end proves no success.
        if let Verdict::Failover(_) = verdict {
            self.mark(verdict, head.status, body.is_unread());
        }
    }

    /// Marks the key. Then takes the next key, joins the wait queue, or responds to the caller.
    pub(crate) fn settle<R>(
        &mut self,
        verdict: Verdict,
        head: response::Parts,
        body: BodyKind<R>,
    ) -> Settled<R>
    where
        R: Body<Data = Bytes>,
    {
        let Verdict::Failover(mark) = verdict else {
            self.mark(verdict, head.status, false);
            return Settled::Response(self.forward(head, body, false));
        };
        let _inside = self.begin_span();
        self.mark(verdict, head.status, false);
        self.push_refused(verdict, head.status);
        if let Some(next) = self.next(mark) {
            return Settled::Refused(body, next);
        }
        Settled::Response(match mark.kind() {
            MarkKind::Keep | MarkKind::Suspect => self.forward(head, body, true),
            MarkKind::Temporary(_) | MarkKind::Permanent => self.exhausted(),
        })
    }
}

impl<S, P, B> Exchange<S, P, B> {
    /// Writes what a response says about the key, and ends the probe that the attempt was.
    ///
    /// If the verdict is `in_doubt`, no key is marked permanently.
    fn mark(&mut self, verdict: Verdict, status: StatusCode, in_doubt: bool) {
        let CurrentAttempt { key, probe, .. } =
            self.current.as_mut().expect("an attempt has a key");
        let probe = probe.take();
        let Verdict::Failover(mark) = verdict else {
            key.record_served(is_success(status));
            if let Some(progress) = &mut self.progress {
                progress.suspects.convict(key);
            }
            if let Some(probe) = probe {
                probe.forwarded(is_success(status));
            }
            return;
        };
        let reason = mark.reason(status);
        let cause = Cause {
            reason,
            status: Some(status),
        };
        key.record_refused(reason);
        match mark.kind() {
            MarkKind::Permanent if in_doubt || self.config.common_cause.is_some() => {
                let progress = self.progress.get_or_insert_default();
                progress.suspects.add(key.clone(), cause);
            }
            MarkKind::Permanent => drop(key.mark_permanently(cause)),
            MarkKind::Temporary(wait) => drop(key.cool_down(wait, cause)),
            MarkKind::Keep | MarkKind::Suspect => {}
        }
        if let (Some(progress), false) = (&mut self.progress, mark.kind() == MarkKind::Permanent) {
            progress.suspects.convict(key);
        }
        match probe {
            Some(probe) if mark.kind() == MarkKind::Keep => probe.forwarded(false),
            Some(probe) => probe.refused(),
            None => {}
        }
    }

    /// Begins the request's span, with its first refusal.
    fn begin_span(&mut self) -> Option<Entered> {
        let progress = self.progress.get_or_insert_default();
        progress.span.begin(self.config.pool.as_deref()?.name())
    }

    pub(super) fn push_refused(&mut self, verdict: Verdict, status: StatusCode) {
        let current = self.current.as_ref().expect("an attempt has a key");
        let refused = AttemptRecord::new(current.key.clone(), status, verdict, current.elapsed());
        if matches!(verdict, Verdict::Failover(_)) {
            Observer::on_refused(self.pool().name(), &refused);
        }
        self.progress_mut().history.push(refused);
    }
}

fn is_success(status: StatusCode) -> bool {
    status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS
}
