//! The verdict on a response: it marks the key, and decides what follows.

use bytes::Bytes;
use http::{StatusCode, response};
use http_body::Body;

use super::{CurrentAttempt, Entered, Exchange, Next, Span, scope_in, trust};
use crate::Observer;
use crate::failover::attempt::AttemptRecord;
use crate::failover::observer::{ExchangeObserver, ExchangeSpan};
use crate::inspect::Inspection;
use crate::policy::{BodyEvidence, Mark, MarkKind, ProviderPolicy, ReadLimit, ReadUntil, Verdict};
use crate::pool::{Cause, KeyChoice};
use crate::sse;

/// What the head of a response leads to.
pub(crate) enum Classified {
    Judged(Verdict),
    /// The body is read up to this limit, and judged then.
    Read(ReadLimit),
}

/// What a verdict leads to.
pub(crate) enum Settled {
    /// The caller gets the response.
    Forwarded,
    /// The key was refused, and the caller gets the response that says so.
    RefusalForwarded,
    /// The caller gets the layer's own response.
    Exhausted,
    /// The refused response is discarded.
    Next(Next),
}

impl<S, P: ProviderPolicy, B> Exchange<S, P, B> {
    /// Judges a response by its head.
    pub(crate) fn classify(&self, head: &response::Parts) -> Classified {
        let policy = &self.config.policy;
        let limit = match policy.classify(head) {
            Verdict::Read(limit) => limit,
            verdict => return Classified::Judged(verdict),
        };
        match self.read_limit(limit, head) {
            Some(limit) => Classified::Read(limit),
            None => {
                let verdict = policy.classify_body(head, &BodyEvidence::partial(&[]));
                Classified::Judged(verdict.or_forward())
            }
        }
    }

    /// The limit, or `None` if nothing is to be read.
    fn read_limit(&self, limit: ReadLimit, head: &response::Parts) -> Option<ReadLimit> {
        match limit.until() {
            ReadUntil::CommitGate => self
                .config
                .commit_gate
                .filter(|_| sse::is_plain_stream(&head.headers)),
            _ => Some(limit),
        }
    }

    /// Judges a response by its head and what was read of its body.
    pub(crate) fn judge<R>(&self, head: &response::Parts, body: &Inspection<R>) -> Verdict
    where
        R: Body<Data = Bytes>,
    {
        body.show(&head.headers, |evidence| {
            self.config.policy.classify_body(head, evidence)
        })
        .or_forward()
    }

    /// Marks the key by what was read of a response whose caller is gone.
    ///
    /// The rest of the body might say to keep the key. Therefore, the key is marked permanently only if
    /// a part of the body was read, and never becomes suspected.
    pub(crate) fn abandon<R>(&mut self, head: &response::Parts, body: &Inspection<R>)
    where
        R: Body<Data = Bytes>,
    {
        let _inside = self.enter();
        // A response that was not read to its end proves no success.
        if let Verdict::Failover(mark) = self.judge(head, body) {
            let mark = trust::weigh(mark, head.status, self.key());
            let is_proof = match mark.kind() {
                MarkKind::Permanent => !body.is_unread(),
                MarkKind::Suspect => false,
                _ => true,
            };
            if is_proof {
                self.mark(mark, head.status);
            }
        }
    }
}

impl<S, P, B> Exchange<S, P, B> {
    /// Marks the key. Then takes the next key, joins the wait queue, or ends the request.
    #[inline]
    pub(crate) fn settle(&mut self, verdict: Verdict, status: StatusCode) -> Settled {
        match verdict {
            Verdict::Failover(mark) => {
                self.settle_refusal(trust::weigh(mark, status, self.key()), status)
            }
            _ => Settled::Forwarded,
        }
    }

    fn settle_refusal(&mut self, mark: Mark, status: StatusCode) -> Settled {
        let _inside = self.begin_span();
        self.end_in_flight();
        self.mark(mark, status);
        self.push_refused(mark, status);
        if let Some(next) = self.next(mark) {
            return Settled::Next(next);
        }
        match mark.kind() {
            // Clients react to a 401 by renewing their own credential.
            MarkKind::Suspect if trust::is_unauthorized(mark, status) => Settled::Exhausted,
            MarkKind::Keep | MarkKind::Suspect => Settled::RefusalForwarded,
            _ => Settled::Exhausted,
        }
    }

    /// Marks the key of a refused attempt, and ends its probe if the attempt was one.
    fn mark(&mut self, mark: Mark, status: StatusCode) {
        let CurrentAttempt { key, probe, .. } =
            self.current.as_mut().expect("an attempt has a key");
        let probe = probe.take();
        let reason = mark.reason(status);
        let cause = Cause {
            reason,
            status: Some(status),
        };
        key.record_refused(reason);
        match (mark.kind(), probe) {
            (MarkKind::Temporary(wait), Some(probe)) if probe.is_of_permanent_mark() => {
                probe.rate_limited(wait, mark.is_in_scope(), cause);
                return;
            }
            (MarkKind::Keep, Some(probe)) => probe.inconclusive(),
            (_, Some(probe)) => {
                // Before the mark, which would replace the reason.
                probe.refused(reason);
            }
            (_, None) => {}
        }
        match mark.kind() {
            MarkKind::Permanent => drop(key.mark_permanently(cause)),
            MarkKind::Temporary(wait) => {
                let scope = scope_in(&self.progress).filter(|_| mark.is_in_scope());
                key.cool_down_in(scope, wait, cause);
            }
            MarkKind::Suspect => {
                let progress = self.progress.get_or_insert_default();
                progress.suspicions.add(key, cause);
            }
            MarkKind::Keep if mark.is_in_scope() => {
                if let Some(progress) = self.progress.as_deref_mut()
                    && let Some(scope) = progress.choice.as_ref().and_then(KeyChoice::scope_ref)
                {
                    progress.suspicions.add_scope(key, scope, cause);
                }
            }
            MarkKind::Keep => {}
        }
    }

    /// Begins the request's span, with its first refusal.
    fn begin_span(&mut self) -> Option<Entered> {
        if !Span::IS_RECORDED {
            return None;
        }
        let progress = self.progress.get_or_insert_default();
        progress.span.begin(self.config.pool.as_deref()?.name())
    }

    fn push_refused(&mut self, mark: Mark, status: StatusCode) {
        let current = self.current.as_ref().expect("an attempt has a key");
        let refused = AttemptRecord::new(
            current.key.clone(),
            current.picked_by,
            status,
            Verdict::Failover(mark),
            self.elapsed(),
        );
        Observer::on_refused(self.pool().name(), &refused);
        self.history_mut().push(refused);
    }
}
