//! Caps on requests in flight: they are never exceeded, and every place is given back.

use std::collections::HashMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response, StatusCode, request, response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use test_support::mock::{self, key_of};
use test_support::policy::TestPolicy;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_key_failover::policy::{BodyEvidence, Scope, Success};
use tower_key_failover::pool::{Exhausted, Key, KeyChoice, Selection};
use tower_key_failover::{
    BoxError, KeyFailoverLayer, KeyPool, ProviderPolicy, RequestBody, Verdict,
};

type Sent = Request<RequestBody<mock::Body>>;

fn capped() -> Arc<KeyPool> {
    let pool = KeyPool::builder().key("k0").max_in_flight(1);
    Arc::new(pool.key("k1").max_in_flight(1).build().unwrap())
}

fn assert_all_free(pool: &KeyPool, after: &str) {
    for key in pool.snapshot().keys {
        assert_eq!(key.in_flight, Some(0), "after {after}: {key:?}");
    }
}

/// Where a policy panics.
const HOOKS: [&str; 6] = [
    "scope",
    "inject_key",
    "classify",
    "classify_body",
    "success",
    "exhausted_response",
];

#[derive(Clone, Copy)]
struct Panics {
    inner: TestPolicy,
    at: &'static str,
}

impl Panics {
    fn reach(&self, hook: &str) {
        assert_ne!(self.at, hook, "the policy panics");
    }
}

impl ProviderPolicy for Panics {
    fn is_byok(&self, request: &request::Parts) -> bool {
        self.inner.is_byok(request)
    }

    fn inject_key(&self, request: &mut request::Parts, key: &Key) {
        self.reach("inject_key");
        self.inner.inject_key(request, key);
    }

    fn scope(&self, request: &request::Parts) -> Option<Scope> {
        self.reach("scope");
        self.inner.scope(request)
    }

    fn classify(&self, response: &response::Parts) -> Verdict {
        self.reach("classify");
        self.inner.classify(response)
    }

    fn classify_body(&self, response: &response::Parts, body: &BodyEvidence<'_>) -> Verdict {
        self.reach("classify_body");
        self.inner.classify_body(response, body)
    }

    fn success(&self, response: &response::Parts) -> Success {
        self.reach("success");
        self.inner.success(response)
    }

    fn success_in_body(&self, response: &response::Parts, body: &BodyEvidence<'_>) -> bool {
        self.inner.success_in_body(response, body)
    }

    fn exhausted_response(&self, exhausted: &Exhausted) -> Response<Bytes> {
        self.reach("exhausted_response");
        self.inner.exhausted_response(exhausted)
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_panics_anywhere_leaves_all_places_free() {
    for at in HOOKS {
        // Each panics during the first attempt, or during the second one.
        for refused in [0, 1, 2] {
            let pool = capped();
            let attempts = AtomicU32::new(0);
            let provider = service_fn(|_: Sent| {
                let attempt = attempts.fetch_add(1, Ordering::Relaxed);
                let response = match (attempt < refused, at) {
                    (true, _) => mock::response_with(429, &[("retry-after", "9")], ""),
                    (false, "classify_body") => {
                        mock::response_with(400, &[("x-say", "inspect")], "no")
                    }
                    (false, _) => mock::response(200),
                };
                std::future::ready(Ok::<_, BoxError>(response))
            });
            let inner = TestPolicy::default();
            let layer = KeyFailoverLayer::new(Panics { inner, at }, Arc::clone(&pool));
            let service = layer.layer(provider);
            let sent = async {
                let response = service.oneshot(mock::request("one")).await.unwrap();
                response.into_body().collect().await.unwrap();
            };
            let result = AssertUnwindSafe(sent).catch_unwind().await;
            let is_reached = match at {
                "exhausted_response" => refused == 2,
                "success" | "classify_body" => refused < 2,
                _ => true,
            };
            assert_eq!(result.is_err(), is_reached, "{at}, {refused}");
            assert_all_free(&pool, at);
        }
    }
}

/// A response body that panics after its first frame.
#[derive(Default)]
struct PanickingBody {
    has_begun: bool,
}

impl Body for PanickingBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        assert!(!self.has_begun, "the body panics");
        self.has_begun = true;
        Poll::Ready(Some(Ok(Frame::data("some".into()))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_body_that_panics_gives_its_place_back_with_the_response() {
    let pool = capped();
    let provider =
        service_fn(async |_: Sent| Ok::<_, BoxError>(Response::new(PanickingBody::default())));
    let service = mock::layer(&pool).layer(provider);
    let response = service.oneshot(mock::request("one")).await.unwrap();
    assert_eq!(pool.snapshot().keys[0].in_flight, Some(1));
    let mut body = response.into_body();
    assert!(body.frame().await.is_some());
    let read = AssertUnwindSafe(body.frame()).catch_unwind().await;
    assert!(read.is_err());
    drop(body);
    assert_all_free(&pool, "a panic of the body");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_panics_when_it_is_called_polled_or_made_ready_leaves_all_places_free() {
    #[derive(Clone)]
    struct Inner {
        panics_in: &'static str,
        attempts: Arc<AtomicU32>,
        refused: u32,
    }

    impl Service<Sent> for Inner {
        type Response = Response<mock::Body>;
        type Error = BoxError;
        type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            let is_last = self.attempts.load(Ordering::Relaxed) == self.refused;
            assert!(self.panics_in != "poll_ready" || !is_last);
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Sent) -> Self::Future {
            let is_last = self.attempts.fetch_add(1, Ordering::Relaxed) == self.refused;
            assert!(self.panics_in != "call" || !is_last);
            let panics = self.panics_in == "poll" && is_last;
            Box::pin(async move {
                tokio::task::yield_now().await;
                assert!(!panics);
                Ok(mock::response_with(429, &[("retry-after", "9")], ""))
            })
        }
    }

    for panics_in in ["poll_ready", "call", "poll"] {
        for refused in [0, 1] {
            let pool = capped();
            let inner = Inner {
                panics_in,
                attempts: Arc::default(),
                refused,
            };
            let sent = mock::layer(&pool)
                .layer(inner)
                .oneshot(mock::request("one"));
            let result = AssertUnwindSafe(sent).catch_unwind().await;
            assert!(result.is_err(), "{panics_in}, {refused}");
            assert_all_free(&pool, panics_in);
        }
    }
}

/// Counts the requests that a provider works on, for each key and in all, and remembers the most.
#[derive(Default)]
struct Gauge {
    now: AtomicU32,
    most: AtomicU32,
}

impl Gauge {
    fn enter(self: &Arc<Self>) -> Entered {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Entered(Arc::clone(self))
    }
}

struct Entered(Arc<Gauge>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A body of a few frames, whose request ends with the last of them.
struct CountedBody {
    frames: u32,
    _entered: Option<[Entered; 2]>,
}

impl Body for CountedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.frames {
            0 => {
                self._entered = None;
                Poll::Ready(None)
            }
            frames if frames % 2 == 1 => {
                self.frames -= 1;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            _ => {
                self.frames -= 1;
                Poll::Ready(Some(Ok(Frame::data("data".into()))))
            }
        }
    }
}

/// A sequence of random numbers that threads share.
struct Dice(AtomicU64);

impl Dice {
    fn roll(&self, sides: u64) -> u64 {
        let seed = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// A panic that prints nothing, because the test does not capture what other threads print.
fn silent_panic() -> ! {
    resume_unwind(Box::new("a panic on purpose"))
}

const CAPS: [(&str, u32); 3] = [("k0", 1), ("k1", 2), ("k2", 3)];
const GROUP_CAP: u32 = 4;

/// Sends random requests from several threads. Some are dropped, some panic, some are refused.
async fn storm(selection: Selection, wait: Option<Duration>) {
    const CLIENTS: u64 = 24;
    const REQUESTS: u64 = 60;

    let keys = CAPS
        .into_iter()
        .fold(KeyPool::builder(), |pool, (key, cap)| {
            pool.labeled_key(key, key).group("org").max_in_flight(cap)
        });
    let pool = keys
        .group_max_in_flight("org", GROUP_CAP)
        .selection(selection)
        .build();
    let pool = Arc::new(pool.unwrap());
    let all: Arc<Gauge> = Arc::default();
    let of_keys: Arc<HashMap<&str, Arc<Gauge>>> =
        Arc::new(CAPS.map(|(key, _)| (key, Arc::default())).into());
    let dice = Arc::new(Dice(AtomicU64::new(7)));
    let calm = Arc::new(AtomicBool::new(false));

    let provider = {
        let (all, of_keys, dice) = (Arc::clone(&all), Arc::clone(&of_keys), Arc::clone(&dice));
        let calm = Arc::clone(&calm);
        service_fn(move |request: Sent| {
            let entered = [all.enter(), of_keys[key_of(&request)].enter()];
            let (dice, is_calm) = (Arc::clone(&dice), calm.load(Ordering::Relaxed));
            if !is_calm && dice.roll(50) == 0 {
                silent_panic();
            }
            async move {
                for _ in 0..dice.roll(4) {
                    tokio::task::yield_now().await;
                }
                let (status, say) = match dice.roll(100) {
                    _ if is_calm => (200, ""),
                    0..5 => silent_panic(),
                    5..25 => (403, "keep"),
                    25..30 => return Err(BoxError::from("reset")),
                    _ => (200, ""),
                };
                let body = CountedBody {
                    frames: dice.roll(4) as u32,
                    _entered: (status == 200).then_some(entered),
                };
                let response = Response::builder().status(status).header("x-say", say);
                Ok(response.body(body).unwrap())
            }
        })
    };
    let mut layer = mock::layer(&pool);
    if let Some(wait) = wait {
        layer = layer.wait_for_key(wait);
    }
    let service = layer.layer(provider);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (service, dice, pool) = (service.clone(), Arc::clone(&dice), Arc::clone(&pool));
            tokio::spawn(async move {
                for _ in 0..REQUESTS {
                    let mut request = mock::request("one");
                    let choice = match dice.roll(4) {
                        0 => KeyChoice::new().affinity(client),
                        1 => KeyChoice::new().pin_key(CAPS[client as usize % CAPS.len()].0),
                        2 => KeyChoice::new().scope(Scope::new("model").unwrap()),
                        _ => KeyChoice::new(),
                    };
                    request.extensions_mut().insert(choice);
                    let sent = async {
                        let response = service.clone().oneshot(request).await?;
                        response.into_body().collect().await
                    };
                    let mut sent = Box::pin(AssertUnwindSafe(sent).catch_unwind());
                    // Some clients leave after a few polls.
                    let patience = if dice.roll(3) == 0 {
                        dice.roll(8)
                    } else {
                        u64::MAX
                    };
                    let mut polls = 0;
                    std::future::poll_fn(|cx| {
                        polls += 1;
                        match sent.as_mut().poll(cx) {
                            Poll::Pending if polls < patience => Poll::Pending,
                            _ => Poll::Ready(()),
                        }
                    })
                    .await;
                    if dice.roll(40) == 0 {
                        // Another list with the same keys.
                        let keys = CAPS.map(|(key, cap)| {
                            let key = tower_key_failover::pool::NewKey::new(key).label(key);
                            key.group("org").max_in_flight(cap)
                        });
                        pool.replace_keys(keys).unwrap();
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }

    for (key, cap) in CAPS {
        let most = of_keys[key].most.load(Ordering::SeqCst);
        assert!(
            most <= cap,
            "{selection}: {most} requests at once with {key}"
        );
    }
    assert!(all.most.load(Ordering::SeqCst) <= GROUP_CAP, "{selection}");
    assert_eq!(all.now.load(Ordering::SeqCst), 0);
    assert_all_free(&pool, "the storm");
    // Every place can be taken again.
    calm.store(true, Ordering::Relaxed);
    let mut held = Vec::new();
    for _ in 0..GROUP_CAP {
        let response = service.clone().oneshot(mock::request("one")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        held.push(response);
    }
}

#[test]
fn caps_hold_while_threads_send_drop_refuse_panic_and_reload() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    for name in ["in-order", "round-robin", "weighted", "least-in-flight"] {
        for wait in [None, Some(Duration::from_millis(50))] {
            let selection = Selection::named(name).unwrap();
            runtime.block_on(storm(selection, wait));
        }
    }
}
