//! Requests on their way, and a provider whose responses the test gives by hand.

use std::task::Poll;
use std::time::Duration;

use http::{Request, Response};
use tokio_test::{assert_ready_ok, task};
use tower_key_failover::pool::{Key, KeyPool, KeyState};
use tower_key_failover::{
    BoxError, FailoverInfo, KeyFailoverLayer, RequestBody, ResponseBody, ResponseFuture,
};
use tower_test::mock::{self, SendResponse};

use crate::mock::{Body, Handle, Inner, Service, key_of, request, response_with, stack};
use crate::policy::TestPolicy;

pub const SECOND: Duration = Duration::from_secs(1);
pub const MILLI: Duration = Duration::from_millis(1);

pub type MockResponse = Response<Body>;

/// The layer over a provider.
pub struct Harness {
    service: mock::Spawn<Service>,
    pub provider: Handle,
}

/// A request on its way, polled whenever it is asked something.
pub struct InFlight {
    future: Option<task::Spawn<ResponseFuture<Inner, TestPolicy, Body, Body>>>,
    result: Option<Result<Response<ResponseBody<Body>>, BoxError>>,
}

/// An attempt that the provider has seen.
pub struct SentAttempt {
    pub key: String,
    pub request: Request<RequestBody<Body>>,
    reply: SendResponse<MockResponse>,
}

impl Harness {
    pub fn new(layer: &KeyFailoverLayer<TestPolicy>) -> Self {
        let (service, provider) = stack(layer);
        Self { service, provider }
    }

    pub fn send(&mut self) -> InFlight {
        self.send_request(request("body"))
    }

    pub fn send_request(&mut self, request: Request<Body>) -> InFlight {
        assert_ready_ok!(self.service.poll_ready());
        let mut in_flight = InFlight {
            future: Some(task::spawn(self.service.call(request))),
            result: None,
        };
        in_flight.poll();
        in_flight
    }

    /// The next attempt, if there is one.
    pub fn try_next_attempt(&mut self) -> Option<SentAttempt> {
        match self.provider.poll_request() {
            Poll::Ready(Some((request, reply))) => Some(SentAttempt {
                key: key_of(&request).to_owned(),
                request,
                reply,
            }),
            Poll::Ready(None) | Poll::Pending => None,
        }
    }

    pub fn next_attempt(&mut self) -> SentAttempt {
        self.try_next_attempt()
            .expect("the provider is sent an attempt")
    }

    /// Runs one request against these responses, and says which keys were seen.
    pub fn run(
        &mut self,
        responses: impl IntoIterator<Item = MockResponse>,
    ) -> (Vec<String>, Response<ResponseBody<Body>>) {
        self.run_request(request("body"), responses)
    }

    pub fn run_request(
        &mut self,
        request: Request<Body>,
        responses: impl IntoIterator<Item = MockResponse>,
    ) -> (Vec<String>, Response<ResponseBody<Body>>) {
        let mut in_flight = self.send_request(request);
        let keys = responses
            .into_iter()
            .map(|respond| {
                let seen = self.next_attempt();
                let key = seen.key.clone();
                seen.respond(respond);
                in_flight.poll();
                key
            })
            .collect();
        (keys, in_flight.response())
    }

    /// The keys of a request that gets these responses.
    pub fn keys(&mut self, responses: impl IntoIterator<Item = MockResponse>) -> Vec<String> {
        self.run(responses).0
    }
}

impl InFlight {
    pub fn poll(&mut self) {
        if let Some(future) = &mut self.future
            && let Poll::Ready(result) = future.poll()
        {
            self.result = Some(result);
            self.future = None;
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
        self.result.take().expect("the request has its respond")
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

impl SentAttempt {
    pub fn respond(self, respond: MockResponse) {
        self.reply.send_response(respond);
    }

    pub fn fail(self, error: &'static str) {
        self.reply.send_error(error);
    }
}

/// A 429 that names a wait.
pub fn rate_limited(seconds: &'static str) -> MockResponse {
    response_with(429, &[("retry-after", seconds)], "")
}

/// A refusal that says nothing of the key.
pub fn keep() -> MockResponse {
    response_with(403, &[("x-say", "keep")], "not here")
}

pub fn key(pool: &KeyPool, at: usize) -> Key {
    pool.keys().nth(at).unwrap()
}

pub fn cooling_down(retry_after: Duration) -> KeyState {
    KeyState::Temporary { retry_after }
}
