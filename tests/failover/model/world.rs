//! The real thing, and what is to be seen of it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Request, Response, request, response};
use http_body::{Body, Frame};
use http_body_util::Full;
use tokio::sync::oneshot;
use tokio_test::task::Spawn;
use tower::{Layer, Service};
use tower_key_failover::policy::{BodyEvidence, ReadLimit, Scope, Success};
use tower_key_failover::pool::{Exhausted, ExhaustedKind, Key, KeyState, NewKey};
use tower_key_failover::{
    FailoverInfo, KeyFailover, KeyFailoverLayer, KeyPool, Mark, ProviderPolicy, RequestBody,
    Verdict,
};

use super::operation::{Answer, KEYS, Operation, REQUESTS, Rules};

/// What is to be seen of the world between two operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The state of each key in the pool, in its order.
    pub states: Vec<(usize, State)>,
    /// What each request is about.
    pub requests: BTreeMap<usize, Doing>,
}

/// A remaining time in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Valid,
    Temporary(u64),
    Permanent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doing {
    /// An attempt with this key is under way.
    Attempt(usize),
    /// Its response is being inspected, or the next attempt is being made ready.
    Between,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this status, after attempts with these keys. Failed attempts are not listed.
    Answered(u16, Vec<usize>),
    Failed,
}

/// What came of an operation: the requests that ended in it, and how.
pub type Did = BTreeMap<usize, Ended>;

/// What a caller receives: the status, and the keys of the attempts.
type Told = Result<(u16, Vec<usize>), Failed>;

pub struct World {
    pool: Arc<KeyPool>,
    service: KeyFailover<Upstream, Dialect>,
    upstream: Upstream,
    requests: BTreeMap<usize, Spawn<BoxFuture<'static, Told>>>,
    groups: [Option<u8>; KEYS],
    started: usize,
}

fn text(key: usize) -> String {
    format!("key-{key}")
}

fn number(text: &str) -> usize {
    text.trim_start_matches("key-").parse().unwrap()
}

impl World {
    pub fn new(rules: &Rules) -> Self {
        let mut pool = KeyPool::builder();
        for key in 0..rules.keys {
            pool = pool.labeled_key(text(key), text(key));
            if let Some(group) = rules.groups[key] {
                pool = pool.group(group.to_string());
            }
        }
        pool = pool.probe_after(None);
        if let Some(bound) = rules.growth {
            pool = pool.exponential_cooldown(Duration::from_secs(60)..=bound);
        }
        let pool = Arc::new(pool.build().unwrap());
        let mut layer = KeyFailoverLayer::new(Dialect, Arc::clone(&pool));
        if let Some(attempts) = rules.max_attempts.filter(|attempts| *attempts > 0) {
            layer = layer.max_attempts(attempts);
        }
        let upstream = Upstream::default();
        upstream.0.lock().unwrap().is_ready = true;
        Self {
            pool,
            service: layer.layer(upstream.clone()),
            upstream,
            requests: BTreeMap::new(),
            groups: rules.groups,
            started: 0,
        }
    }

    pub async fn apply(&mut self, operation: &Operation) -> Did {
        match operation {
            Operation::Start => self.start(),
            Operation::Answer(at, answer) => self.answer(*at, *answer),
            Operation::EndBody(at) => {
                if let Some(id) = nth(&self.requests, *at) {
                    self.upstream.0.lock().unwrap().bodies.remove(&id);
                }
            }
            Operation::Cancel(at) => {
                if let Some(id) = nth(&self.requests, *at) {
                    self.requests.remove(&id);
                    let mut upstream = self.upstream.0.lock().unwrap();
                    upstream.attempts.remove(&id);
                    upstream.bodies.remove(&id);
                }
            }
            Operation::Advance(time) => tokio::time::advance(*time).await,
            Operation::SetReady(is_ready) => {
                self.upstream.0.lock().unwrap().is_ready = *is_ready;
            }
            Operation::Reinstate(key) => drop(self.pool.reinstate(text(*key).as_str())),
            Operation::Disable(key) => drop(self.pool.disable(text(*key).as_str())),
            Operation::Replace(keys) => {
                let keys = keys.iter().map(|key| {
                    let new = NewKey::new(text(*key)).label(text(*key));
                    match self.groups[*key] {
                        Some(group) => new.group(group.to_string()),
                        None => new,
                    }
                });
                self.pool.replace_keys(keys).unwrap();
            }
        }
        self.settle()
    }

    fn start(&mut self) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        if self.requests.len() == REQUESTS || !self.service.poll_ready(&mut cx).is_ready() {
            return;
        }
        let id = self.started;
        self.started += 1;
        let request = Request::post("http://upstream.test/")
            .header("x-id", id)
            .body(Full::<Bytes>::from("hello"))
            .unwrap();
        let future = self.service.call(request).map(|answer| {
            let answer = answer?;
            let info = answer.body().failover().unwrap();
            Ok((answer.status().as_u16(), history(info)))
        });
        self.requests
            .insert(id, tokio_test::task::spawn(future.boxed()));
    }

    fn answer(&mut self, at: usize, answer: Answer) {
        let mut upstream = self.upstream.0.lock().unwrap();
        let Some(id) = nth(&upstream.attempts, at) else {
            return;
        };
        let (_, sender) = upstream.attempts.remove(&id).unwrap();
        let status = match answer {
            Answer::Good | Answer::Inspect => 200,
            Answer::Broken => 500,
            Answer::Revoked => 403,
            Answer::Keep => 418,
            Answer::Limited(_) => 429,
            Answer::Failed => return,
        };
        let mut body = Slow::default();
        let mut response = Response::builder().status(status);
        match answer {
            Answer::Limited(seconds) => response = response.header("retry-after", seconds),
            Answer::Inspect => {
                response = response.header("x-say", "inspect");
                let (ends, end) = oneshot::channel();
                upstream.bodies.insert(id, ends);
                body.end = Some(end);
            }
            _ => {}
        }
        let _ = sender.send(response.body(body).unwrap());
    }

    /// Polls until nothing moves.
    fn settle(&mut self) -> Did {
        let mut ended = Did::new();
        loop {
            let ids: Vec<usize> = self.requests.keys().copied().collect();
            let mut moved = false;
            for id in ids {
                let request = self.requests.get_mut(&id).unwrap();
                if let Poll::Ready(answer) = request.poll() {
                    self.requests.remove(&id);
                    self.upstream.0.lock().unwrap().bodies.remove(&id);
                    let end = match answer {
                        Ok((status, keys)) => Ended::Answered(status, keys),
                        Err(Failed) => Ended::Failed,
                    };
                    ended.insert(id, end);
                    moved = true;
                }
            }
            if !moved {
                return ended;
            }
        }
    }

    pub fn look(&self) -> Sight {
        let states = self.pool.keys().map(|key| {
            let state = match key.state() {
                KeyState::Valid => State::Valid,
                KeyState::Temporary { retry_after } => {
                    State::Temporary(retry_after.as_millis() as u64)
                }
                _ => State::Permanent,
            };
            (number(key.label().unwrap()), state)
        });
        let upstream = self.upstream.0.lock().unwrap();
        let doing = |id: &usize| match upstream.attempts.get(id) {
            Some((key, _)) => Doing::Attempt(*key),
            None => Doing::Between,
        };
        Sight {
            states: states.collect(),
            requests: self.requests.keys().map(|id| (*id, doing(id))).collect(),
        }
    }
}

fn nth<T>(of: &BTreeMap<usize, T>, at: usize) -> Option<usize> {
    of.keys().nth(at % of.len().max(1)).copied()
}

fn history(info: &FailoverInfo) -> Vec<usize> {
    let keys = info.history().map(|attempted| attempted.label().unwrap());
    keys.map(number).collect()
}

/// An inner service that responds on command.
#[derive(Clone, Default)]
struct Upstream(Arc<Mutex<Attempts>>);

#[derive(Default)]
struct Attempts {
    is_ready: bool,
    /// By the request's number, with the key that each was made with.
    attempts: BTreeMap<usize, (usize, oneshot::Sender<Response<Slow>>)>,
    /// What ends the bodies that are being inspected.
    bodies: BTreeMap<usize, oneshot::Sender<Infallible>>,
}

#[derive(Debug)]
struct Failed;

impl Service<Request<RequestBody<Full<Bytes>>>> for Upstream {
    type Response = Response<Slow>;
    type Error = Failed;
    type Future = BoxFuture<'static, Result<Response<Slow>, Failed>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        // Every request is polled after every operation: nobody needs to be woken.
        match self.0.lock().unwrap().is_ready {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    fn call(&mut self, request: Request<RequestBody<Full<Bytes>>>) -> Self::Future {
        let header = |name: &str| request.headers()[name].to_str().unwrap();
        let id = header("x-id").parse().unwrap();
        let key = number(header("x-key"));
        let (sender, receiver) = oneshot::channel();
        let mut attempts = self.0.lock().unwrap();
        let before = attempts.attempts.insert(id, (key, sender));
        assert!(before.is_none(), "two attempts of one request at once");
        receiver.map(|answer| answer.map_err(|_| Failed)).boxed()
    }
}

/// A body that says `refuse` and ends on command.
#[derive(Default)]
struct Slow {
    end: Option<oneshot::Receiver<Infallible>>,
    has_spoken: bool,
}

impl Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let has_spoken = std::mem::replace(&mut self.has_spoken, true);
        let Some(end) = &mut self.end else {
            return Poll::Ready(None);
        };
        if has_spoken {
            let has_ended = end.poll_unpin(cx).is_ready();
            return if has_ended {
                Poll::Ready(None)
            } else {
                Poll::Pending
            };
        }
        Poll::Ready(Some(Ok(Frame::data("refuse".into()))))
    }
}

#[derive(Clone, Copy)]
struct Dialect;

impl ProviderPolicy for Dialect {
    fn is_byok(&self, _: &request::Parts) -> bool {
        false
    }

    fn inject_key(&self, request: &mut request::Parts, key: &Key) {
        request.headers.insert("x-key", key.header_value());
    }

    fn scope(&self, _: &request::Parts) -> Option<Scope> {
        None
    }

    fn classify(&self, response: &response::Parts) -> Verdict {
        let header = |name| response.headers.get(name)?.to_str().ok();
        match response.status.as_u16() {
            _ if header("x-say") == Some("inspect") => Verdict::Read(ReadLimit::refusal()),
            403 => Verdict::Failover(Mark::permanent()),
            418 => Verdict::Failover(Mark::keep()),
            429 => {
                let seconds = header("retry-after").and_then(|seconds| seconds.parse().ok());
                Verdict::Failover(Mark::temporary(seconds.map(Duration::from_secs)))
            }
            _ => Verdict::Forward,
        }
    }

    fn classify_body(&self, _: &response::Parts, body: &BodyEvidence<'_>) -> Verdict {
        let (BodyEvidence::Complete { bytes, .. } | BodyEvidence::Partial { bytes, .. }) = body
        else {
            panic!("{body:?}");
        };
        assert_eq!(*bytes, b"refuse");
        Verdict::Failover(Mark::permanent())
    }

    fn success(&self, response: &response::Parts) -> Success {
        Success::of_status(response.status)
    }

    fn success_in_body(&self, _: &response::Parts, _: &BodyEvidence<'_>) -> bool {
        false
    }

    fn exhausted_response(&self, exhausted: &Exhausted) -> Response<Bytes> {
        let status = match exhausted.kind {
            ExhaustedKind::RateLimited => 429,
            _ => 502,
        };
        Response::builder()
            .status(status)
            .body(Bytes::new())
            .unwrap()
    }
}
