//! One request, played with one key after another: which key is its turn, whether another could
//! follow, and what the caller is told in the end.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, request, response};
use http_body::Body;
use tower_service::Service;

use crate::BoxError;
use crate::body::{
    Inspection, Reach, Recorder, RequestBody, ResponseBody, Unrepeatable, redact_headers,
};
use crate::info::{Attempt, FailoverInfo, Outcome, Replay};
use crate::policy::{MarkKind, ProviderPolicy, Verdict};
use crate::pool::{Key, KeyPool, LazyNow};
use crate::settings::Settings;
use crate::sse;

pub(crate) struct Play<S, P, B> {
    settings: Arc<Settings<P>>,
    key: Key,
    attempts: usize,
    /// What a further attempt takes. `None`: this attempt is the last, whatever recovers meanwhile.
    again: Option<Again<S, B>>,
    replay: Replay,
    /// The keys that were refused here and not marked.
    kept: Vec<usize>,
}

struct Again<S, B> {
    service: S,
    recorder: Recorder<B>,
}

/// What the head of an answer comes to.
pub(crate) enum Classified {
    Judged(Verdict),
    /// The body is to be read so far, and judged then.
    Read(Reach),
}

/// What a verdict comes to.
pub(crate) enum Settled<R: Body> {
    Answer(Response<ResponseBody<R>>),
    /// The next key's turn. The refused answer is to be let go.
    Again(ResponseBody<R>),
}

impl<S, P, B> Play<S, P, B> {
    pub(crate) fn new(settings: &Arc<Settings<P>>, key: Key) -> Self {
        Self {
            settings: Arc::clone(settings),
            key,
            attempts: 1,
            again: None,
            replay: Replay::NotNeeded,
            kept: Vec::new(),
        }
    }

    fn pool(&self) -> &KeyPool {
        let pool = self.settings.pool.as_deref();
        pool.expect("without a pool there is no key to play with")
    }

    /// Whether another key could follow this attempt: decided once, as it starts.
    fn could_follow(&self) -> bool {
        self.attempts < self.settings.max_attempts
            && self
                .pool()
                .pick(self.key.index() + 1, &mut LazyNow::default())
                .is_some()
    }

    fn attempt(&self) -> Attempt {
        Attempt::new(self.attempts, self.key.clone())
    }

    fn info(&self, outcome: Outcome) -> FailoverInfo {
        FailoverInfo::new(self.attempts, Some(self.key.clone()), outcome, self.replay)
    }
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

    /// Writes the mark that a verdict carries.
    pub(crate) fn mark(&mut self, verdict: Verdict) {
        if let Verdict::Failover(mark) = verdict {
            match mark.kind() {
                MarkKind::Keep => self.kept.push(self.key.index()),
                MarkKind::Temporary(wait) => drop(self.key.mark_temporary(wait)),
                MarkKind::Permanent => drop(self.key.mark_permanent()),
            }
        }
    }

    /// Marks the key, and takes the next one or answers the caller.
    pub(crate) fn settle<R>(
        &mut self,
        verdict: Verdict,
        head: response::Parts,
        body: ResponseBody<R>,
    ) -> Settled<R>
    where
        R: Body<Data = Bytes>,
    {
        self.mark(verdict);
        let Verdict::Failover(mark) = verdict else {
            return Settled::Answer(self.forward(head, body, false));
        };
        if self.take_next_key() {
            return Settled::Again(body);
        }
        Settled::Answer(match mark.kind() {
            MarkKind::Keep => self.forward(head, body, true),
            MarkKind::Temporary(_) | MarkKind::Permanent => self.exhausted(),
        })
    }

    /// Whether another attempt can be made; if so its key is taken, and used whatever happens to it
    /// meanwhile.
    fn take_next_key(&mut self) -> bool {
        let Some(again) = &self.again else {
            return false;
        };
        let pool = self.pool();
        let Some(picked) = pool.pick(self.key.index() + 1, &mut LazyNow::default()) else {
            return false;
        };
        if again.recorder.supersede().is_err() {
            return false;
        }
        self.key = pool.key(picked);
        true
    }

    /// Ends the recording, having asked why it ended before.
    fn finish(&mut self) {
        if let Some(again) = self.again.take() {
            self.replay = again.recorder.end().into();
        }
    }

    fn forward<R>(
        &mut self,
        mut head: response::Parts,
        mut body: ResponseBody<R>,
        is_refusal: bool,
    ) -> Response<ResponseBody<R>>
    where
        R: Body<Data = Bytes>,
    {
        if is_refusal {
            // It may stand in the head alone, and so may the key in it.
            redact_headers(&mut head.headers, self.key.expose_secret());
        }
        if !body.redact(&head.headers, self.key.expose_secret(), is_refusal) {
            return self.exhausted();
        }
        self.finish();
        let info = self.info(Outcome::Forwarded);
        let mut response = Response::from_parts(head, body);
        if self.settings.extensions || self.attempts > 1 {
            response.extensions_mut().insert(info.clone());
        }
        response.map(|body| body.with_failover(info))
    }

    fn exhausted<R: Body>(&mut self) -> Response<ResponseBody<R>> {
        self.finish();
        exhausted(&self.settings, &self.kept, self.info(Outcome::Exhausted))
    }
}

/// The answer to a request for which no key is left.
pub(crate) fn exhausted<P: ProviderPolicy, R: Body>(
    settings: &Settings<P>,
    kept: &[usize],
    info: FailoverInfo,
) -> Response<ResponseBody<R>> {
    let pool = settings.pool.as_deref();
    let pool = pool.expect("without a pool there is nothing to exhaust");
    let exhausted = pool.exhausted(kept, &mut LazyNow::default());
    let mut response = settings.policy.exhausted_response(&exhausted);
    response.extensions_mut().insert(info.clone());
    response.map(|data| ResponseBody::own(data).with_failover(info))
}

impl<S, P, B, R> Play<S, P, B>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone,
    P: ProviderPolicy,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Makes the first attempt, with the service that is ready.
    pub(crate) fn first(&mut self, ready: &mut S, head: request::Parts, body: B) -> S::Future {
        let Settings {
            max_replay_bytes,
            replay_budget,
            ..
        } = &*self.settings;
        // What follows a CONNECT is no HTTP: nothing could be sent again.
        if head.method == Method::CONNECT || !self.could_follow() {
            return self.send(ready, head, |attempt| RequestBody::direct(body, attempt));
        }
        if body.size_hint().lower() > *max_replay_bytes as u64 {
            self.replay = Replay::TooLarge;
            return self.send(ready, head, |attempt| RequestBody::direct(body, attempt));
        }
        // Copied before anything is injected: the kept head never holds a credential of ours.
        let (recorder, view) =
            Recorder::start(&head, body, *max_replay_bytes, replay_budget.clone());
        self.again = Some(Again {
            service: ready.clone(),
            recorder,
        });
        self.send(ready, head, |attempt| RequestBody::recorded(view, attempt))
    }

    /// Makes the service for the next attempt ready.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match &mut self.again {
            Some(again) => again.service.poll_ready(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Makes a further attempt, with the service that is ready.
    pub(crate) fn again(&mut self) -> S::Future {
        let Again {
            service: mut ready,
            recorder,
        } = self.again.take().expect("taken only by the last attempt");
        self.attempts += 1;
        let (head, view) = if self.could_follow() {
            let played = recorder.play_again();
            let service = ready.clone();
            self.again = Some(Again { service, recorder });
            played
        } else {
            recorder.play_last()
        };
        self.send(&mut ready, head, |attempt| {
            RequestBody::recorded(view, attempt)
        })
    }

    fn send(
        &self,
        ready: &mut S,
        mut head: request::Parts,
        body: impl FnOnce(Attempt) -> RequestBody<B>,
    ) -> S::Future {
        let attempt = self.attempt();
        self.settings.policy.inject_key(&mut head, &self.key);
        if self.settings.extensions {
            head.extensions.insert(attempt.clone());
        }
        ready.call(Request::from_parts(head, body(attempt)))
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
