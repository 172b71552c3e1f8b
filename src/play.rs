//! One request, played with one key after another: which key is its turn, whether another could
//! follow, and what the caller is told in the end.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, request, response};
use http_body::Body;
use tokio::time::Instant;
use tower_service::Service;

use crate::BoxError;
use crate::body::{
    Answer, Forms, Inspection, Reach, Recorder, RequestBody, ResponseBody, Unrepeatable, View,
    redact_headers,
};
use crate::info::{Attempt, Attempted, FailoverInfo, Outcome, Replay};
use crate::past::Past;
use crate::policy::{Mark, MarkKind, ProviderPolicy, Verdict};
use crate::pool::{Asking, Cause, Key, KeyPool, Loan, Outlook, Pick, Place};
use crate::settings::Settings;
use crate::sse;
use crate::telemetry::{self, Entered};
use crate::wait::Found;

pub(crate) struct Play<S, P, B> {
    settings: Arc<Settings<P>>,
    /// The attempt that is under way, or comes next.
    turn: Option<Turn>,
    attempts: usize,
    /// What a further attempt takes. `None`: this attempt is the last, whatever recovers meanwhile.
    again: Option<Again<S, B>>,
    replay: Replay,
    // Shared with nobody until the end.
    past: Option<Arc<Past>>,
}

struct Turn {
    key: Key,
    /// Where the key is only being tried.
    loan: Option<Box<Loan>>,
    started: Option<Instant>,
    /// Whether there was another key behind it.
    has_more: bool,
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
    /// The refused answer is to be let go.
    Refused(Answer<R>, Next),
}

/// What comes after a refusal.
pub(crate) enum Next {
    Key,
    /// No key can be had now, but one returns soon.
    Wait(Place),
}

impl<S, P, B> Play<S, P, B> {
    pub(crate) fn new(settings: &Arc<Settings<P>>) -> Self {
        Self {
            settings: Arc::clone(settings),
            turn: None,
            attempts: 0,
            again: None,
            replay: Replay::NotNeeded,
            past: None,
        }
    }

    fn pool(&self) -> &KeyPool {
        let pool = self.settings.pool.as_deref();
        pool.expect("without a pool there is no key to play with")
    }

    fn key(&self) -> &Key {
        &self.turn.as_ref().expect("an attempt has a key").key
    }

    fn past(&mut self) -> &mut Past {
        unshared(self.past.get_or_insert_default())
    }

    /// The keys that are not to be tried (again).
    fn tried(&self) -> impl Iterator<Item = &Key> + Clone {
        self.past.iter().flat_map(|past| past.tried())
    }

    fn kept(&self) -> impl Iterator<Item = &Key> + Clone {
        self.past.iter().flat_map(|past| past.kept())
    }

    /// Whether `more` attempts can still be made.
    fn has_attempts(&self, more: usize) -> bool {
        let bound = match (self.settings.max_attempts, self.settings.wait_for_key) {
            (Some(attempts), _) => attempts.get(),
            (None, Some(_)) => self.pool().len().saturating_mul(2),
            (None, None) => usize::MAX,
        };
        self.attempts.saturating_add(more) <= bound
    }

    /// Takes the next key of the walk, if there is one.
    #[inline]
    pub(crate) fn take_key(&mut self, can_go_on: bool) -> bool {
        let pick = self.pick(can_go_on);
        self.turn = pick.map(Turn::from);
        self.turn.is_some()
    }

    #[inline]
    fn pick(&self, can_go_on: bool) -> Option<Pick> {
        self.pool().pick(self.asking(can_go_on), self.tried())
    }

    fn asking(&self, can_go_on: bool) -> Asking<'_> {
        let past = self.past.as_deref();
        Asking {
            after: past.and_then(Past::last),
            can_go_on: can_go_on && self.has_attempts(2),
            has_waited: past.is_some_and(Past::has_waited),
            may_wait: self.settings.wait_for_key.is_some(),
        }
    }

    /// Whether another key could follow this attempt: decided once, as it starts.
    fn could_follow(&self) -> bool {
        let has_more = self.turn.as_ref().is_some_and(|turn| turn.has_more);
        self.is_repeatable_so_far() && self.has_attempts(2) && (has_more || self.may_still_wait())
    }

    /// Whether nothing is known that keeps the request from being sent again.
    fn is_repeatable_so_far(&self) -> bool {
        self.replay == Replay::NotNeeded
    }

    fn may_still_wait(&self) -> bool {
        self.wait_left().is_some_and(|left| !left.is_zero())
    }

    /// For how much longer the request may wait.
    pub(crate) fn wait_left(&self) -> Option<Duration> {
        let waited = self.past.as_deref().map_or(Duration::ZERO, Past::waited);
        Some(self.settings.wait_for_key?.saturating_sub(waited))
    }

    /// A place among those who wait, if it is worth while. Then a new walk begins.
    pub(crate) fn queue(&mut self) -> Option<Place> {
        let left = self.wait_left().filter(|left| !left.is_zero())?;
        match self.pool().outlook(self.kept()) {
            Outlook::Hopeless => return None,
            Outlook::Out(wait) if wait > left => return None,
            Outlook::Out(_) | Outlook::Taken(_) => {}
        }
        if !self.has_attempts(1) {
            return None;
        }
        let place = self.pool().queue(self.kept().next().is_none())?;
        self.past().begin_wait();
        Some(place)
    }

    /// What there is for one who waits at the front.
    pub(crate) fn look(&mut self) -> Found {
        let asking = self.asking(self.is_repeatable_so_far());
        let pick = self.pool().pick_or_wait(asking, self.tried(), self.kept());
        match pick {
            Ok(pick) => {
                self.turn = Some(pick.into());
                Found::Key
            }
            Err(outlook) => Found::Nothing(outlook),
        }
    }

    pub(crate) fn end_wait(&mut self, took: Duration) {
        self.past().end_wait(took);
    }

    /// What comes after a refusal, if the request can be sent again. Its body is then taken away
    /// from the attempt that was refused.
    fn next(&mut self, mark: Mark) -> Option<Next> {
        self.again.as_ref()?;
        if self.is_common_cause() {
            return None;
        }
        if let Some(pick) = self.pick(true) {
            self.supersede()?;
            // Used whatever happens to it meanwhile.
            self.turn = Some(pick.into());
            return Some(Next::Key);
        }
        if mark.kind() == MarkKind::Keep {
            return None;
        }
        let place = self.queue()?;
        self.supersede()?;
        Some(Next::Wait(place))
    }

    fn supersede(&self) -> Option<()> {
        self.again.as_ref()?.recorder.supersede().ok()
    }

    fn is_common_cause(&self) -> bool {
        let alike = self.past.as_deref().map_or(0, |past| past.suspects.len());
        let enough = self.settings.common_cause.map(NonZeroUsize::get);
        enough.is_some_and(|enough| alike >= enough)
    }

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
        if let (Some(again), true) = (self.again.take(), self.is_repeatable_so_far()) {
            self.replay = again.recorder.end().into();
        }
        if let Some(past) = &mut self.past {
            std::mem::take(&mut unshared(past).trace).end(status, outcome);
        }
        let info = FailoverInfo::new(self.past.take(), answered, outcome, self.replay);
        telemetry::answered(self.pool().name(), &info);
        info
    }
}

fn unshared(past: &mut Arc<Past>) -> &mut Past {
    Arc::get_mut(past).expect("it is shared at the end alone")
}

fn is_success(status: StatusCode) -> bool {
    status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS
}

impl Turn {
    fn elapsed(&self) -> Option<Duration> {
        let started = self.started?;
        Some(Instant::now().saturating_duration_since(started))
    }

    fn into_attempted(self, verdict: Verdict, status: StatusCode) -> Attempted {
        let elapsed = self.elapsed();
        Attempted::new(self.key, status, verdict, elapsed)
    }
}

impl From<Pick> for Turn {
    fn from(pick: Pick) -> Self {
        Self {
            key: pick.key,
            loan: pick.loan,
            started: None,
            has_more: pick.has_more,
        }
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

impl<S, P, B, R> Play<S, P, B>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone,
    P: ProviderPolicy,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Whether the request could be sent twice, whatever keys there are.
    pub(crate) fn is_repeatable(&self, head: &request::Parts, body: &B) -> Result<(), Replay> {
        if head.method == Method::CONNECT {
            // What follows it is no HTTP.
            Err(Replay::NotNeeded)
        } else if body.size_hint().lower() > self.settings.max_replay_bytes as u64 {
            Err(Replay::TooLarge)
        } else {
            Ok(())
        }
    }

    /// Makes the first attempt, with the service that is ready.
    pub(crate) fn first(
        &mut self,
        ready: &mut S,
        head: request::Parts,
        body: B,
        repeatable: Result<(), Replay>,
    ) -> S::Future {
        if !self.could_follow() {
            return self.send(ready, head, |attempt| RequestBody::direct(body, attempt));
        }
        if let Err(why) = repeatable {
            self.replay = why;
            return self.send(ready, head, |attempt| RequestBody::direct(body, attempt));
        }
        let view = self.record(ready, &head, body);
        self.send(ready, head, |attempt| RequestBody::recorded(view, attempt))
    }

    /// Makes no attempt yet: there is no key, and the service that is ready is let go.
    pub(crate) fn keep(
        &mut self,
        ready: &mut S,
        head: &request::Parts,
        body: B,
        repeatable: Result<(), Replay>,
    ) {
        *ready = ready.clone();
        if let Err(why) = repeatable {
            self.replay = why;
        }
        self.record(ready, head, body);
    }

    /// Keeps the request, so that it can be sent again.
    fn record(&mut self, service: &S, head: &request::Parts, body: B) -> View<B> {
        let Settings {
            max_replay_bytes,
            replay_budget,
            ..
        } = &*self.settings;
        // Copied before anything is injected: the kept head never holds a credential of ours.
        let (recorder, view) =
            Recorder::start(head, body, *max_replay_bytes, replay_budget.clone());
        self.again = Some(Again {
            service: service.clone(),
            recorder,
        });
        view
    }

    /// Makes the service for the next attempt ready.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match &mut self.again {
            Some(again) => again.service.poll_ready(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Makes a further attempt, with the service that is ready. `None` if its key was removed from
    /// the pool meanwhile, and there is no other.
    pub(crate) fn again(&mut self) -> Option<S::Future> {
        if !self.key().is_removed() {
            let has_more = self.pool().has_more(self.key(), self.tried());
            self.turn.as_mut()?.has_more = has_more;
        } else if !self.take_key(self.is_repeatable_so_far()) {
            return None;
        }
        let Again {
            service: mut ready,
            recorder,
        } = self.again.take().expect("taken only by the last attempt");
        let (head, view) = if self.could_follow() {
            let played = recorder.play_again();
            let service = ready.clone();
            self.again = Some(Again { service, recorder });
            played
        } else {
            recorder.play_last()
        };
        Some(self.send(&mut ready, head, |attempt| {
            RequestBody::recorded(view, attempt)
        }))
    }

    fn send(
        &mut self,
        ready: &mut S,
        mut head: request::Parts,
        body: impl FnOnce(Attempt) -> RequestBody<B>,
    ) -> S::Future {
        self.attempts += 1;
        if let Some(past) = &mut self.past {
            unshared(past).trace.attempt(self.attempts);
        }
        let turn = self.turn.as_mut().expect("an attempt has a key");
        let attempt = Attempt::new(self.attempts, turn.key.clone());
        self.settings.policy.inject_key(&mut head, &turn.key);
        if self.settings.extensions {
            head.extensions.insert(attempt.clone());
        }
        turn.started = self.settings.timings.then(Instant::now);
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
