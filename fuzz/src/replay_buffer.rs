//! A request body that attempts read in any order and amount, while they are refused, served,
//! superseded and dropped, also in the middle of a poll of the caller's body.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, request, response};
use http_body::{Body, Frame, SizeHint};
use tower_key_failover::policy::{BodyEvidence, ProviderPolicy, Scope, Success};
use tower_key_failover::{
    Exhausted, Key, KeyFailover, KeyFailoverLayer, KeyPool, Mark, Outcome, Replay, ReplayBudget,
    RequestBody, ResponseFuture, Verdict,
};
use tower_layer::Layer;
use tower_service::Service;

use crate::judge::Whole;

#[derive(Arbitrary, Debug)]
struct Case {
    keys: u8,
    max_attempts: Option<NonZeroUsize>,
    max_replay: Bound,
    budget: Bound,
    declared_length: DeclaredLength,
    upload: Vec<Step>,
    script: Vec<Action>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Bound {
    Tiny(u8),
    Small(u16),
    Ample,
}

impl Bound {
    fn bytes(self) -> usize {
        match self {
            Self::Tiny(bytes) => bytes.into(),
            Self::Small(bytes) => 4 * usize::from(bytes),
            Self::Ample => 1 << 24,
        }
    }
}

/// What the caller's body tells of its length.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum DeclaredLength {
    Nothing,
    Least,
    Exactly,
}

/// What the caller's body does next.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Small(u8),
    Middle(u16),
    Large(u8),
    /// Makes its reader wait for a `Go`.
    Wait,
    /// While it is being polled, so many further actions happen.
    Meanwhile(u8),
    Trailers,
    Error,
}

impl Step {
    fn len(self) -> usize {
        match self {
            Self::Small(len) => len.into(),
            Self::Middle(len) => usize::from(len) % 0x8000,
            // Around the size from which frames are kept as they are.
            Self::Large(len) => 16 * 1024 - 128 + usize::from(len),
            Self::Wait | Self::Meanwhile(_) | Self::Trailers | Self::Error => 0,
        }
    }

    fn is_last(self) -> bool {
        matches!(self, Self::Trailers | Self::Error)
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Action {
    Read {
        attempt: u8,
        frames: u8,
    },
    ReadLatest {
        frames: u8,
    },
    Drop {
        attempt: u8,
    },
    Go,
    /// Answers the latest attempt.
    Refuse(Refusal),
    Respond,
    Fail,
    /// Lets the future see what happened.
    Poll,
    DropFuture,
    /// Whether the inner service has room.
    Ready(bool),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Refusal {
    Keep,
    Temporary,
    Permanent,
}

pub fn run(input: &[u8]) {
    let Ok(case) = Case::arbitrary_take_rest(Unstructured::new(input)) else {
        return;
    };
    World::new(case).run();
}

type Future = ResponseFuture<Inner, Plain, Source, Whole>;

struct World {
    weak: Weak<Self>,
    max_replay: usize,
    budget: ReplayBudget,
    script: RefCell<VecDeque<Action>>,
    service: RefCell<Option<KeyFailover<Inner, Plain>>>,
    future: RefCell<Option<Pin<Box<Future>>>>,
    response: RefCell<Option<Response<tower_key_failover::ResponseBody<Whole>>>>,
    is_over: Cell<bool>,
    attempts: RefCell<Vec<AttemptBody>>,
    ready: Cell<bool>,
    depth: Cell<usize>,
    upload: Upload,
}

/// The caller's body, as the world knows it.
struct Upload {
    declared_length: DeclaredLength,
    steps: RefCell<VecDeque<Step>>,
    declared: usize,
    fails: bool,
    has_trailers: bool,
    is_unbound: Cell<bool>,
    allowed: Cell<usize>,
    sent: Cell<usize>,
    /// Of that, what a poll brought in whose attempt was superseded meanwhile.
    owed: Cell<usize>,
    has_failed: Cell<bool>,
    /// Whether it failed in a poll whose attempt was superseded meanwhile: the next one is declared_length.
    fails_late: Cell<bool>,
    has_ended: Cell<bool>,
    is_dropped: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    alive: Arc<AtomicUsize>,
}

/// One attempt's body, as the world knows it.
struct AttemptBody {
    body: Option<RequestBody<Source>>,
    reply: Rc<RefCell<Reply>>,
    read: usize,
    trailers: bool,
    is_over: bool,
    superseded: bool,
    waker: Arc<Flag>,
    waits: bool,
}

#[derive(Default)]
struct Reply {
    response: Option<Result<Response<Whole>, ()>>,
    is_refusal: bool,
    is_taken: bool,
    waker: Option<Waker>,
}

impl World {
    fn new(case: Case) -> Rc<Self> {
        let mut steps: VecDeque<_> = case.upload.into_iter().take(64).collect();
        if let Some(last) = steps.iter().position(|step| step.is_last()) {
            steps.truncate(last + 1);
        }
        let last = steps.back().copied();
        let upload = Upload {
            declared_length: case.declared_length,
            declared: steps.iter().map(|step| step.len()).sum(),
            fails: matches!(last, Some(Step::Error)),
            has_trailers: matches!(last, Some(Step::Trailers)),
            steps: RefCell::new(steps),
            is_unbound: Cell::new(false),
            allowed: Cell::new(0),
            sent: Cell::new(0),
            owed: Cell::new(0),
            has_failed: Cell::new(false),
            fails_late: Cell::new(false),
            has_ended: Cell::new(false),
            is_dropped: Cell::new(false),
            waker: RefCell::new(None),
            alive: Arc::default(),
        };
        let max_replay = case.max_replay.bytes();
        let budget = ReplayBudget::new(case.budget.bytes());
        let keys = (0..=case.keys % 5).map(|at| format!("key-{at}-of-the-pool"));
        let pool = Arc::new(KeyPool::new(keys).unwrap());
        Rc::new_cyclic(|weak: &Weak<Self>| {
            let mut layer = KeyFailoverLayer::new(Plain, pool)
                .max_replay_bytes(max_replay)
                .replay_budget(budget.clone());
            if let Some(attempts) = case.max_attempts {
                layer = layer.max_attempts(1 + attempts.get() % 4);
            }
            Self {
                weak: weak.clone(),
                max_replay,
                budget,
                script: RefCell::new(case.script.into_iter().take(256).collect()),
                service: RefCell::new(Some(layer.layer(Inner(weak.clone())))),
                future: RefCell::new(None),
                response: RefCell::new(None),
                is_over: Cell::new(false),
                attempts: RefCell::new(Vec::new()),
                ready: Cell::new(true),
                depth: Cell::new(0),
                upload,
            }
        })
    }

    fn run(self: Rc<Self>) {
        let request = Request::new(Source(self.weak.clone()));
        let mut service = self.service.take().unwrap();
        *self.future.borrow_mut() = Some(Box::pin(service.call(request)));
        drop(service);
        while self.act() {}
        self.finish();
    }

    /// Does the next thing, if there is one.
    fn act(&self) -> bool {
        let Some(action) = self.script.borrow_mut().pop_front() else {
            return false;
        };
        let count = self.attempts.borrow().len();
        let latest = count - 1;
        match action {
            Action::Read { attempt, frames } => {
                let attempt = usize::from(attempt) % count;
                (0..=frames % 16).all(|_| self.read(attempt));
            }
            Action::ReadLatest { frames } => {
                (0..=frames).all(|_| self.read(latest));
            }
            Action::Drop { attempt } => {
                let attempt = usize::from(attempt) % count;
                let body = self.attempts.borrow_mut()[attempt].body.take();
                drop(body);
            }
            Action::Go => self.upload.go(),
            Action::Refuse(refusal) => self.reply(latest, true, Ok(refusal.response())),
            Action::Respond => self.reply(latest, false, Ok(Response::new(Whole::default()))),
            Action::Fail => self.reply(latest, false, Err(())),
            Action::Poll => self.poll(),
            Action::DropFuture => {
                let future = self.future.borrow_mut().take();
                if future.is_some() {
                    self.is_over.set(true);
                }
                drop(future);
            }
            Action::Ready(ready) => self.ready.set(ready),
        }
        self.check_what_is_held();
        true
    }

    fn reply(&self, attempt: usize, is_refusal: bool, response: Result<Response<Whole>, ()>) {
        let reply = Rc::clone(&self.attempts.borrow()[attempt].reply);
        let mut reply = reply.borrow_mut();
        if reply.response.is_some() || reply.is_taken {
            return;
        }
        reply.response = Some(response);
        reply.is_refusal = is_refusal;
        let waker = reply.waker.take();
        drop(reply);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self) {
        // It may be under way already, further out.
        let Some(mut future) = self.future.borrow_mut().take() else {
            return;
        };
        let before = self.attempts.borrow().len();
        let polled = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        let count = self.attempts.borrow().len();
        if count > before {
            let repeated = self.upload.sent.get() - self.upload.owed.get();
            assert!(repeated <= self.max_replay, "sent again beyond the bound");
            let is_known = self.upload.has_failed.get() && !self.upload.fails_late.get();
            assert!(!is_known, "what has failed is sent again");
        }
        for (at, attempt) in self.attempts.borrow_mut().iter_mut().enumerate() {
            let reply = attempt.reply.borrow();
            let is_let_go = reply.is_taken && reply.is_refusal && polled.is_pending();
            attempt.superseded |= at + 1 < count || is_let_go;
        }
        match polled {
            Poll::Pending => *self.future.borrow_mut() = Some(future),
            Poll::Ready(response) => {
                drop(future);
                self.is_over.set(true);
                if let Ok(response) = response {
                    self.check_response(&response);
                    *self.response.borrow_mut() = Some(response);
                }
            }
        }
    }

    fn check_response(&self, response: &Response<tower_key_failover::ResponseBody<Whole>>) {
        let info = response.body().failover().unwrap();
        assert_eq!(info.attempts(), self.attempts.borrow().len());
        let forwards = response.status() == 200 || response.status() == 403;
        assert_eq!(info.outcome() == Outcome::Forwarded, forwards);
        match info.replay() {
            Replay::TooLarge => assert!(
                self.upload.sent.get() > self.max_replay
                    || self.upload.declared_length != DeclaredLength::Nothing
                        && self.upload.declared > self.max_replay
            ),
            Replay::BodyFailed => assert!(self.upload.has_failed.get()),
            Replay::OverBudget => assert!(self.budget.limit() < 1 << 24),
            Replay::Available | Replay::NotNeeded => {}
            other => panic!("{other:?}"),
        }
    }

    /// Polls a attempt once. Whether it makes sense to go on.
    fn read(&self, at: usize) -> bool {
        // It may be being polled already, further out.
        let taken = {
            let attempt = &mut self.attempts.borrow_mut()[at];
            // What has ended may do as it likes; what is superseded goes on to say so.
            let body = attempt
                .body
                .take_if(|_| !attempt.is_over || attempt.superseded);
            body.map(|body| {
                attempt.waits = false;
                attempt.waker.0.store(false, Ordering::Relaxed);
                let waker = Waker::from(Arc::clone(&attempt.waker));
                (body, waker, attempt.superseded)
            })
        };
        let Some((mut body, waker, was_superseded)) = taken else {
            return false;
        };
        self.check_hints(at, &body);
        let says_end = body.is_end_stream();
        let polled = Pin::new(&mut body).poll_frame(&mut Context::from_waker(&waker));
        if body.is_end_stream() {
            assert!(!matches!(&polled, Poll::Ready(Some(Err(error))) if error.is_superseded()));
        }

        let upload = &self.upload;
        let attempt = &mut self.attempts.borrow_mut()[at];
        let superseded = attempt.superseded;
        let frame = match polled {
            Poll::Pending => {
                assert!(!was_superseded, "a superseded attempt waits");
                assert!(!says_end, "the end was there");
                attempt.body = Some(body);
                attempt.waits = true;
                return false;
            }
            Poll::Ready(frame) => frame,
        };
        attempt.body = Some(body);
        match frame {
            Some(Err(error)) if error.is_superseded() => {
                assert!(
                    superseded,
                    "the live attempt is declared_length that it is superseded"
                );
                attempt.is_over = true;
            }
            // It has read all there is, and was declared_length so or might have known.
            None if superseded
                && attempt.read == upload.declared
                && attempt.trailers == upload.has_trailers =>
            {
                attempt.is_over = true;
            }
            _ if superseded => panic!("a superseded attempt got more than an error: {frame:?}"),
            Some(Err(_)) => {
                assert!(upload.has_failed.get(), "the caller's body did not fail");
                attempt.is_over = true;
            }
            Some(Ok(frame)) => {
                assert!(!says_end, "there was more");
                match frame.into_data() {
                    Ok(data) => {
                        assert!(!attempt.trailers, "data behind the trailers");
                        assert_eq!(data, content(attempt.read, data.len()), "other bytes");
                        attempt.read += data.len();
                        assert!(attempt.read <= upload.sent.get());
                        return true;
                    }
                    Err(frame) => {
                        assert_eq!(frame.into_trailers().unwrap(), trailers());
                        assert!(!attempt.trailers && upload.has_trailers);
                        assert_eq!(attempt.read, upload.declared, "trailers come last");
                        attempt.trailers = true;
                    }
                }
                return true;
            }
            None => {
                assert!(!upload.fails, "a failed body looks complete");
                assert_eq!(attempt.read, upload.declared, "a cut body looks complete");
                assert_eq!(attempt.trailers, upload.has_trailers, "trailers are lost");
                attempt.is_over = true;
            }
        }
        false
    }

    fn check_hints(&self, at: usize, body: &RequestBody<Source>) {
        let attempt = &self.attempts.borrow()[at];
        if attempt.superseded {
            return;
        }
        let left = (self.upload.declared - attempt.read) as u64;
        let hint = body.size_hint();
        assert!(hint.lower() <= left, "{hint:?} of {left}");
        assert!(hint.upper().is_none_or(|upper| upper >= left), "{hint:?}");
        match self.upload.declared_length {
            DeclaredLength::Exactly => assert_eq!(hint.exact(), Some(left)),
            DeclaredLength::Least => assert!(hint.exact().is_none()),
            DeclaredLength::Nothing => assert!(hint.exact().is_none()),
        }
    }

    fn check_what_is_held(&self) {
        let (held, owed) = (self.budget.held(), self.upload.owed.get());
        assert!(held <= self.budget.limit() + owed, "over the budget");
        let recorded = self.upload.sent.get().min(self.max_replay) + owed;
        // Half of a block is unused at most.
        assert!(held <= 2 * recorded + 1024, "{held} for {recorded}");
    }

    /// Lets everything come to its end.
    fn finish(self: Rc<Self>) {
        self.upload.is_unbound.set(true);
        self.upload.go();
        self.ready.set(true);
        self.poll();
        let latest = self.attempts.borrow().len() - 1;
        loop {
            {
                let attempt = &self.attempts.borrow()[latest];
                if attempt.is_over || attempt.body.is_none() {
                    break;
                }
                let is_woken = attempt.waker.0.load(Ordering::Relaxed);
                assert!(!attempt.waits || is_woken, "nobody woke the live attempt");
            }
            self.read(latest);
            self.check_what_is_held();
        }
        let is_read = self.attempts.borrow()[latest].is_over;
        if self.is_over.get() && is_read {
            // Superseded attempts keep nothing alive, and the live one has all.
            assert_eq!(self.budget.held(), 0);
            assert_eq!(self.upload.alive.load(Ordering::Relaxed), 0);
        }
        let (future, attempts) = (self.future.take(), self.attempts.take());
        drop(future);
        drop(attempts);
        drop(self.response.take());
        assert_eq!(self.budget.held(), 0, "the budget leaks");
        assert_eq!(
            self.upload.alive.load(Ordering::Relaxed),
            0,
            "a frame leaks"
        );
        assert!(self.upload.is_dropped.get(), "the caller's body leaks");
    }
}

impl Refusal {
    fn response(self) -> Response<Whole> {
        let mut response = Response::new(Whole::default());
        *response.status_mut() = match self {
            Self::Keep => StatusCode::FORBIDDEN,
            Self::Temporary => StatusCode::TOO_MANY_REQUESTS,
            Self::Permanent => StatusCode::UNAUTHORIZED,
        };
        response
    }
}

impl Upload {
    fn go(&self) {
        self.allowed.set(self.allowed.get() + 1);
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// What stands at an offset of the upload.
fn content(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|at| (at % 251) as u8).collect()
}

fn trailers() -> HeaderMap {
    let value = HeaderValue::from_static("the end");
    HeaderMap::from_iter([(http::HeaderName::from_static("x-trailer"), value)])
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A frame's bytes, which are counted while anybody has them.
struct Counted(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The caller's body.
struct Source(Weak<World>);

impl Source {
    fn world(&self) -> Rc<World> {
        self.0.upgrade().unwrap()
    }
}

impl Body for Source {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let world = self.world();
        let upload = &world.upload;
        assert!(!upload.has_ended.get(), "polled after its end");
        let before = world.superseded();
        loop {
            let step = upload.steps.borrow_mut().pop_front();
            let frame = match step {
                None => None,
                Some(Step::Wait) => {
                    if upload.allowed.get() > 0 || upload.is_unbound.get() {
                        upload.allowed.set(upload.allowed.get().saturating_sub(1));
                        continue;
                    }
                    upload.steps.borrow_mut().push_front(Step::Wait);
                    *upload.waker.borrow_mut() = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                Some(Step::Meanwhile(actions)) => {
                    if world.depth.get() < 4 {
                        world.depth.set(world.depth.get() + 1);
                        (0..actions % 8).all(|_| world.act());
                        world.depth.set(world.depth.get() - 1);
                    }
                    continue;
                }
                Some(Step::Trailers) => Some(Ok(Frame::trailers(trailers()))),
                Some(Step::Error) => {
                    upload.has_failed.set(true);
                    upload.fails_late.set(world.superseded() != before);
                    Some(Err("the caller went away"))
                }
                Some(step) => {
                    let (sent, len) = (upload.sent.get(), step.len());
                    upload.sent.set(sent + len);
                    if world.superseded() != before {
                        upload.owed.set(upload.owed.get() + len);
                    }
                    upload.alive.fetch_add(1, Ordering::Relaxed);
                    let data = Counted(content(sent, len), Arc::clone(&upload.alive));
                    Some(Ok(Frame::data(Bytes::from_owner(data))))
                }
            };
            upload.has_ended.set(!matches!(&frame, Some(Ok(_))));
            return Poll::Ready(frame);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.world().upload.steps.borrow().is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let world = self.world();
        let left = (world.upload.declared - world.upload.sent.get()) as u64;
        let mut hint = SizeHint::new();
        match world.upload.declared_length {
            DeclaredLength::Nothing => {}
            DeclaredLength::Least => hint.set_lower(left),
            DeclaredLength::Exactly => hint = SizeHint::with_exact(left),
        }
        hint
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(world) = self.0.upgrade() {
            world.upload.is_dropped.set(true);
        }
    }
}

impl World {
    fn superseded(&self) -> usize {
        let attempts = self.attempts.borrow();
        attempts.iter().filter(|attempt| attempt.superseded).count()
    }
}

/// The inner service, which hands each attempt's body to the world.
#[derive(Clone)]
struct Inner(Weak<World>);

impl Service<Request<RequestBody<Source>>> for Inner {
    type Response = Response<Whole>;
    type Error = ();
    type Future = Replied;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
        match self.0.upgrade().unwrap().ready.get() {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    fn call(&mut self, request: Request<RequestBody<Source>>) -> Replied {
        let world = self.0.upgrade().unwrap();
        let reply = Rc::<RefCell<Reply>>::default();
        let body = request.into_body();
        let mut attempts = world.attempts.borrow_mut();
        assert_eq!(body.attempt().unwrap().number(), attempts.len() + 1);
        attempts.push(AttemptBody {
            body: Some(body),
            reply: Rc::clone(&reply),
            read: 0,
            trailers: false,
            is_over: false,
            superseded: false,
            waker: Arc::default(),
            waits: false,
        });
        Replied(reply)
    }
}

struct Replied(Rc<RefCell<Reply>>);

impl std::future::Future for Replied {
    type Output = Result<Response<Whole>, ()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut reply = self.0.borrow_mut();
        match reply.response.take() {
            Some(response) => {
                reply.is_taken = true;
                Poll::Ready(response)
            }
            None => {
                reply.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Goes by the status.
struct Plain;

impl ProviderPolicy for Plain {
    fn is_byok(&self, _: &request::Parts) -> bool {
        false
    }

    fn inject_key(&self, _: &mut request::Parts, _: &Key) {}

    fn scope(&self, _: &request::Parts) -> Option<Scope> {
        None
    }

    fn classify(&self, response: &response::Parts) -> Verdict {
        match response.status.as_u16() {
            401 => Verdict::Failover(Mark::permanent()),
            403 => Verdict::Failover(Mark::keep()),
            429 => Verdict::Failover(Mark::temporary(None)),
            _ => Verdict::Forward,
        }
    }

    fn classify_body(&self, _: &response::Parts, _: &BodyEvidence<'_>) -> Verdict {
        Verdict::Forward
    }

    fn success(&self, response: &response::Parts) -> Success {
        Success::of_status(response.status)
    }

    fn success_in_body(&self, _: &response::Parts, _: &BodyEvidence<'_>) -> bool {
        false
    }

    fn exhausted_response(&self, _: &Exhausted) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    }
}
