//! The innermost service: what it does with a request depends on the key, and all that it and the
//! callers hold is counted.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use test_support::mock::key_of;
use tower::Service;
use tower_key_failover::{BoxError, RequestBody};

/// What comes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    Answers,
    Refuses,
    /// It says so in a body, which is inspected.
    RefusesInBody,
    /// The body says so, and does not end.
    RefusesWithoutEnd,
    /// The body is inspected, says nothing and does not end.
    SaysNothing,
    /// Refuses the first call for a second, and then succeeds.
    LimitsAtFirst,
    /// The same, but the second call hangs.
    LimitsAndHangs,
    Fails,
    Hangs,
    PanicsInCall,
    PanicsInFuture,
    /// A refusal, whose body panics when it is let go of.
    RefusesAndPanics,
    /// The body says that it refuses, and then panics while it is inspected.
    PanicsInBody,
}

/// How an instance takes it when it is asked whether it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    Yes,
    /// And it never will be.
    No,
    Fails,
    Panics,
}

/// The one error. Two are the same only if one came of the other.
#[derive(Clone, Debug)]
pub struct Fault(Arc<()>);

#[derive(Clone, Debug, Default)]
struct Alive(Arc<AtomicUsize>);

/// Something that is alive.
#[derive(Debug)]
pub struct Guard(Alive);

#[derive(Debug)]
pub struct Provider {
    shared: Arc<Shared>,
    readiness: Option<Ready>,
}

#[derive(Debug)]
struct Shared {
    /// The result for each of the keys `k0`, `k1`...; all others succeed.
    script: Vec<Does>,
    /// How each readiness is taken, in the order in which they are asked for; all others are had.
    readiness: Mutex<VecDeque<Ready>>,
    calls: AtomicUsize,
    alive: Alive,
    fault: Fault,
}

impl Provider {
    pub fn new(script: &[Does], readiness: &[Ready]) -> Self {
        Self {
            shared: Arc::new(Shared {
                script: script.to_vec(),
                readiness: Mutex::new(readiness.iter().copied().collect()),
                calls: AtomicUsize::new(0),
                alive: Alive::default(),
                fault: Fault(Arc::new(())),
            }),
            readiness: None,
        }
    }

    pub fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::SeqCst)
    }

    /// How many futures and bodies there are.
    pub fn alive(&self) -> usize {
        self.shared.alive.0.load(Ordering::SeqCst)
    }

    pub fn guard(&self) -> Guard {
        self.shared.alive.0.fetch_add(1, Ordering::SeqCst);
        Guard(self.shared.alive.clone())
    }

    /// Whether an error is the fault, or was made of it.
    pub fn is_fault(&self, error: &BoxError) -> bool {
        let causes = std::iter::successors(Some(&**error as &dyn std::error::Error), |error| {
            error.source()
        });
        causes
            .filter_map(|error| error.downcast_ref::<Fault>())
            .any(|fault| Arc::ptr_eq(&fault.0, &self.shared.fault.0))
    }

    fn does(&self, key: &str) -> Does {
        let position = key.strip_prefix('k').and_then(|number| number.parse().ok());
        let does = position.and_then(|position: usize| self.shared.script.get(position));
        does.copied().unwrap_or(Does::Answers)
    }
}

/// A clone is not ready because the original is.
impl Clone for Provider {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            readiness: None,
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service<Request<RequestBody<Upload>>> for Provider {
    type Response = Response<Reply>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let next = || self.shared.readiness.lock().unwrap().pop_front();
        match *self
            .readiness
            .get_or_insert_with(|| next().unwrap_or(Ready::Yes))
        {
            Ready::Yes => Poll::Ready(Ok(())),
            Ready::No => Poll::Pending,
            Ready::Fails => Poll::Ready(Err(self.shared.fault.clone().into())),
            Ready::Panics => panic!("in `poll_ready`"),
        }
    }

    fn call(&mut self, request: Request<RequestBody<Upload>>) -> Self::Future {
        self.readiness = None;
        let earlier = self.shared.calls.fetch_add(1, Ordering::SeqCst);
        let does = match (self.does(key_of(&request)), earlier) {
            (Does::LimitsAtFirst, 1..) | (Does::LimitsAndHangs, 2..) => Does::Answers,
            (Does::LimitsAndHangs, 1) => Does::Hangs,
            (does, _) => does,
        };
        assert_ne!(does, Does::PanicsInCall, "in `call`");
        let (future, answer) = (self.guard(), self.guard());
        let fault = self.shared.fault.clone();
        Box::pin(async move {
            let _held = (future, request);
            assert_ne!(does, Does::PanicsInFuture, "in the future");
            match does {
                Does::Fails => Err(fault.into()),
                Does::Hangs => pending().await,
                _ => Ok(Reply::to(does, answer)),
            }
        })
    }
}

/// The body of a request.
#[derive(Debug)]
pub struct Upload {
    data: Option<Bytes>,
    _guard: Guard,
}

impl Upload {
    pub fn new(provider: &Provider) -> Self {
        Self {
            data: Some("a question".into()),
            _guard: provider.guard(),
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.data.take().map(|data| Ok(Frame::data(data))))
    }
}

/// The body of a response.
#[derive(Debug)]
pub struct Reply {
    text: Option<Bytes>,
    then: Then,
    _guard: Guard,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    Ends,
    Hangs,
    Panics,
}

impl Reply {
    fn to(does: Does, guard: Guard) -> Response<Self> {
        let (status, say, text, then) = match does {
            Does::Refuses => (401, "", "", Then::Ends),
            Does::RefusesAndPanics => (401, "", "", Then::Panics),
            Does::RefusesInBody => (400, "inspect", "refuse", Then::Ends),
            Does::RefusesWithoutEnd => (400, "inspect", "refuse", Then::Hangs),
            Does::PanicsInBody => (400, "inspect", "refuse", Then::Panics),
            Does::SaysNothing => (400, "inspect", "", Then::Hangs),
            Does::LimitsAtFirst | Does::LimitsAndHangs => (429, "", "", Then::Ends),
            _ => (200, "", "an answer", Then::Ends),
        };
        let body = Self {
            text: Some(text.into()).filter(|text: &Bytes| !text.is_empty()),
            then,
            _guard: guard,
        };
        let response = Response::builder().status(status).header("x-say", say);
        // For refusals that do not mark permanently.
        response.header("retry-after", "1").body(body).unwrap()
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match (self.text.take(), self.then) {
            (Some(text), _) => Poll::Ready(Some(Ok(Frame::data(text)))),
            (None, Then::Ends) => Poll::Ready(None),
            (None, Then::Hangs) => Poll::Pending,
            (None, Then::Panics) => panic!("in the body"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the fault")
    }
}

impl std::error::Error for Fault {}
