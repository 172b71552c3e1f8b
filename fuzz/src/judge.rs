//! Runs a policy the way the layer does, and reports the effect of its verdict.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, request, response};
use http_body::{Body, Frame};
use tokio::runtime::{Builder, Runtime};
use tower_key_failover::policy::{BodyEvidence, Mark, ProviderPolicy, Scope, Success, Verdict};
use tower_key_failover::{Exhausted, Key, KeyFailoverLayer, KeyPool, KeyState, RequestBody};
use tower_layer::Layer;
use tower_service::Service;

pub(crate) const DEFAULT_COOLDOWN: Duration = Duration::from_secs(77);
pub(crate) const MAX_COOLDOWN: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// Runs a future on a clock that only advances when every task waits.
pub(crate) fn on_a_paused_clock<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
    }
    RUNTIME.with_borrow_mut(|runtime| {
        let runtime = runtime.get_or_insert_with(|| {
            let mut builder = Builder::new_current_thread();
            builder.enable_time().start_paused(true).build().unwrap()
        });
        runtime.block_on(future)
    })
}

/// The effect of a verdict, without its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    Forward,
    Keep,
    /// The key is marked permanently once the request succeeds with another key.
    Suspect,
    Temporary,
    Permanent,
}

pub(crate) fn is(verdict: Verdict, mark: Mark) -> bool {
    matches!(verdict, Verdict::Failover(other) if other.kind() == mark.kind())
}

impl Does {
    pub(crate) fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Forward | Verdict::Read(_) => Self::Forward,
            _ if is(verdict, Mark::keep()) => Self::Keep,
            _ if is(verdict, Mark::suspect()) => Self::Suspect,
            _ if is(verdict, Mark::permanent()) => Self::Permanent,
            Verdict::Failover(_) => Self::Temporary,
            other => panic!("{other:?}"),
        }
    }
}

/// The final verdict of the policy.
pub(crate) fn judge(
    policy: &dyn ProviderPolicy,
    head: &response::Parts,
    evidence: &BodyEvidence<'_>,
) -> Verdict {
    let verdict = match policy.classify(head) {
        Verdict::Read(_) => policy.classify_body(head, evidence),
        verdict => verdict,
    };
    assert!(
        !matches!(verdict, Verdict::Read(_)),
        "the policy asks for a body twice"
    );
    verdict
}

/// The state of a key after this verdict.
pub(crate) fn state_after(verdict: Verdict) -> KeyState {
    on_a_paused_clock(async {
        let response = Response::new(Whole::default());
        send(Fixed(verdict), response).await.state
    })
}

/// The result of a request whose first key got the response and whose second key is good.
pub(crate) struct Outcome {
    pub(crate) response: Response<Vec<u8>>,
    pub(crate) attempts: usize,
    pub(crate) state: KeyState,
}

/// Sends a request through the layer.
pub(crate) async fn send<P: ProviderPolicy>(policy: P, response: Response<Whole>) -> Outcome {
    let pool = KeyPool::builder()
        .key(FIRST_KEY)
        .key("second-key-9876543210")
        .default_cooldown(DEFAULT_COOLDOWN)
        .max_cooldown(MAX_COOLDOWN);
    let pool = Arc::new(pool.build().unwrap());
    let attempts = Arc::default();
    let upstream = Upstream {
        response,
        attempts: Arc::clone(&attempts),
    };
    let mut service = KeyFailoverLayer::new(policy, Arc::clone(&pool)).layer(upstream);
    let request = Request::new(Whole::default());
    let (head, mut body) = service.call(request).await.unwrap().into_parts();
    let mut received = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame.unwrap().into_data() {
            received.extend_from_slice(&data);
        }
    }
    let attempts = *attempts.lock().unwrap();
    Outcome {
        response: Response::from_parts(head, received),
        attempts,
        state: pool.states()[0],
    }
}

pub(crate) const FIRST_KEY: &str = "first-key-0123456789";

/// A body whose frames are all available.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whole {
    pub(crate) data: Option<Bytes>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = match self.data.take() {
            Some(data) => Some(Frame::data(data)),
            None => self.trailers.take().map(Frame::trailers),
        };
        Poll::Ready(frame.map(Ok))
    }
}

#[derive(Clone)]
struct Upstream {
    response: Response<Whole>,
    attempts: Arc<std::sync::Mutex<usize>>,
}

impl Service<Request<RequestBody<Whole>>> for Upstream {
    type Response = Response<Whole>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Whole>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody<Whole>>) -> Self::Future {
        let mut attempts = self.attempts.lock().unwrap();
        *attempts += 1;
        ready(Ok(match *attempts {
            1 => self.response.clone(),
            _ => Response::new(Whole::default()),
        }))
    }
}

/// Returns the same verdict for every response.
struct Fixed(Verdict);

impl ProviderPolicy for Fixed {
    fn is_byok(&self, _: &request::Parts) -> bool {
        false
    }

    fn inject_key(&self, _: &mut request::Parts, _: &Key) {}

    fn scope(&self, _: &request::Parts) -> Option<Scope> {
        None
    }

    fn classify(&self, _: &response::Parts) -> Verdict {
        self.0
    }

    fn classify_body(&self, _: &response::Parts, _: &BodyEvidence<'_>) -> Verdict {
        self.0
    }

    fn success(&self, response: &response::Parts) -> Success {
        Success::of_status(response.status)
    }

    fn success_in_body(&self, _: &response::Parts, _: &BodyEvidence<'_>) -> bool {
        false
    }

    fn exhausted_response(&self, _: &Exhausted) -> Response<Bytes> {
        Response::new(Bytes::new())
    }
}
