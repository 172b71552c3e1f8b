//! A provider with a limit for each key, and the policy that understands its responses.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, request, response};
use http_body::{Body, Frame};
use http_body_util::Empty;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tower_key_failover::RequestBody;
use tower_key_failover::policy::{BodyEvidence, Mark, ProviderPolicy, Scope, Success, Verdict};
use tower_key_failover::pool::{Exhausted, Key};

use crate::arrivals::Arrival;
use crate::limiters::{Limiter, Refused};
use crate::random::Random;

pub struct Provider {
    limiters: Vec<Mutex<Box<dyn Limiter>>>,
    start: Instant,
    /// How long a message is under way, one way.
    delay: f64,
    random: Mutex<Random>,
}

/// In a request's extensions: the position of its key.
#[derive(Clone, Copy)]
struct KeyIndex(usize);

/// In the extensions of a 429: the wait that it names.
#[derive(Clone, Copy)]
struct Wait(Option<Duration>);

/// In the extensions of a success: the position of the key that served it.
#[derive(Clone, Copy)]
pub struct Served(pub usize);

impl Provider {
    pub fn new(limiters: Vec<Box<dyn Limiter>>, delay: f64, seed: u64) -> Self {
        Self {
            limiters: limiters.into_iter().map(Mutex::new).collect(),
            start: Instant::now(),
            delay,
            random: Mutex::new(Random::of([seed, 2])),
        }
    }

    /// Responds to an attempt. `on_refusal` is called before a refusal is sent.
    pub async fn respond(
        self: Arc<Self>,
        request: Request<RequestBody<Empty<Bytes>>>,
        on_refusal: impl FnOnce(),
    ) -> Result<Response<UntilEnd>, Infallible> {
        let extensions = request.extensions();
        let KeyIndex(key) = *extensions.get().expect("the policy adds it");
        let arrival: Arrival = *extensions.get().expect("the client adds it");
        sleep(seconds(self.delay)).await;
        let now = Instant::now()
            .saturating_duration_since(self.start)
            .as_secs_f64();
        let decision = self.limiters[key].lock().unwrap().admit(now);
        match decision {
            Ok(()) => {
                let end = Instant::now() + seconds(arrival.service);
                let provider = Arc::clone(&self);
                tokio::spawn(async move {
                    sleep_until(end).await;
                    provider.limiters[key].lock().unwrap().finish();
                });
                sleep(seconds(arrival.head + self.delay)).await;
                let end = Box::pin(sleep_until(end + seconds(self.delay)));
                let mut response = Response::new(UntilEnd(Some(end)));
                response.extensions_mut().insert(Served(key));
                Ok(response)
            }
            Err(Refused { wait }) => {
                on_refusal();
                let think = 0.01 + 0.02 * self.random.lock().unwrap().unit();
                sleep(seconds(self.delay + think)).await;
                let mut response = Response::new(UntilEnd(None));
                *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
                response.extensions_mut().insert(Wait(wait.map(seconds)));
                Ok(response)
            }
        }
    }
}

pub fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A body without data that ends at a certain time.
pub struct UntilEnd(Option<Pin<Box<Sleep>>>);

impl Body for UntilEnd {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(end) = &mut self.0 {
            ready!(end.as_mut().poll(cx));
            self.0 = None;
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

/// Reads the provider's responses.
#[derive(Clone, Copy)]
pub struct Policy;

impl ProviderPolicy for Policy {
    fn is_byok(&self, _: &request::Parts) -> bool {
        false
    }

    fn inject_key(&self, request: &mut request::Parts, key: &Key) {
        request.extensions.insert(KeyIndex(key.index()));
    }

    fn scope(&self, _: &request::Parts) -> Option<Scope> {
        None
    }

    fn classify(&self, response: &response::Parts) -> Verdict {
        match response.extensions.get() {
            Some(&Wait(wait)) => Verdict::Failover(Mark::temporary(wait)),
            None => Verdict::Forward,
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
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    }
}
