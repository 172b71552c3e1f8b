//! Requests on their way, and a provider whose answers the test gives by hand.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use tokio_test::{assert_ready_ok, task};
use tower_key_failover::pool::{Key, KeyPool, KeyState};
use tower_key_failover::{
    BoxError, FailoverInfo, KeyFailoverLayer, RequestBody, ResponseBody, ResponseFuture,
};
use tower_test::mock::{self, SendResponse};

use crate::support::{Body, Handle, Inner, Plain, Service, answer_with, key_of, request, stack};

pub const SECOND: Duration = Duration::from_secs(1);
pub const MILLI: Duration = Duration::from_millis(1);

pub type Answer = Response<Body>;

/// The layer over a provider.
pub struct Rig {
    service: mock::Spawn<Service>,
    pub provider: Handle,
}

/// A request on its way, polled whenever it is asked something.
pub struct Flight {
    future: Option<task::Spawn<ResponseFuture<Inner, Plain, Body, Body>>>,
    result: Option<Result<Response<ResponseBody<Body>>, BoxError>>,
}

/// An attempt that the provider has seen.
pub struct Seen {
    pub key: String,
    pub request: Request<RequestBody<Body>>,
    reply: SendResponse<Answer>,
}

impl Rig {
    pub fn new(layer: &KeyFailoverLayer<Plain>) -> Self {
        let (service, provider) = stack(layer);
        Self { service, provider }
    }

    pub fn send(&mut self) -> Flight {
        self.send_this(request("body"))
    }

    pub fn send_this(&mut self, request: Request<Body>) -> Flight {
        assert_ready_ok!(self.service.poll_ready());
        let mut flight = Flight {
            future: Some(task::spawn(self.service.call(request))),
            result: None,
        };
        flight.poll();
        flight
    }

    /// The next attempt, if there is one.
    pub fn seen(&mut self) -> Option<Seen> {
        match self.provider.poll_request() {
            Poll::Ready(Some((request, reply))) => Some(Seen {
                key: key_of(&request).to_owned(),
                request,
                reply,
            }),
            Poll::Ready(None) | Poll::Pending => None,
        }
    }

    pub fn next(&mut self) -> Seen {
        self.seen().expect("the provider is sent an attempt")
    }

    /// Runs one request against these answers, and says which keys were seen.
    pub fn run(
        &mut self,
        answers: impl IntoIterator<Item = Answer>,
    ) -> (Vec<String>, Response<ResponseBody<Body>>) {
        self.run_this(request("body"), answers)
    }

    pub fn run_this(
        &mut self,
        request: Request<Body>,
        answers: impl IntoIterator<Item = Answer>,
    ) -> (Vec<String>, Response<ResponseBody<Body>>) {
        let mut flight = self.send_this(request);
        let keys = answers
            .into_iter()
            .map(|answer| {
                let seen = self.next();
                let key = seen.key.clone();
                seen.answer(answer);
                flight.poll();
                key
            })
            .collect();
        (keys, flight.response())
    }

    /// The keys of a request that gets these answers.
    pub fn keys(&mut self, answers: impl IntoIterator<Item = Answer>) -> Vec<String> {
        self.run(answers).0
    }
}

impl Flight {
    pub fn poll(&mut self) {
        if let Some(future) = &mut self.future {
            if let Poll::Ready(result) = future.poll() {
                self.result = Some(result);
                self.future = None;
            }
        }
    }

    pub fn is_pending(&mut self) -> bool {
        self.poll();
        self.result.is_none()
    }

    /// Whether its task was woken since it was last polled.
    pub fn is_woken(&self) -> bool {
        self.future.as_ref().is_some_and(task::Spawn::is_woken)
    }

    pub fn result(&mut self) -> Result<Response<ResponseBody<Body>>, BoxError> {
        self.poll();
        self.result.take().expect("the request has its answer")
    }

    pub fn response(&mut self) -> Response<ResponseBody<Body>> {
        self.result().unwrap()
    }

    pub fn status(&mut self) -> u16 {
        self.response().status().as_u16()
    }

    pub fn info(&mut self) -> FailoverInfo {
        self.response().body().failover().unwrap().clone()
    }
}

impl Seen {
    pub fn answer(self, answer: Answer) {
        self.reply.send_response(answer);
    }

    pub fn fail(self, error: &'static str) {
        self.reply.send_error(error);
    }
}

/// A 429 that names a wait.
pub fn limited(seconds: &'static str) -> Answer {
    answer_with(429, &[("retry-after", seconds)], "")
}

/// A refusal that says nothing of the key.
pub fn keep() -> Answer {
    answer_with(403, &[("x-say", "keep")], "not here")
}

pub fn key(pool: &KeyPool, at: usize) -> Key {
    pool.keys().nth(at).unwrap()
}

pub fn out_for(retry_after: Duration) -> KeyState {
    KeyState::Temporary { retry_after }
}

pub fn layer(pool: &Arc<KeyPool>) -> KeyFailoverLayer<Plain> {
    crate::support::layer(pool)
}
