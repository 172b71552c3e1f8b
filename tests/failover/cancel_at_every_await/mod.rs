//! A request can be dropped at every point where it waits. Whatever it was doing, it then holds
//! nothing: no place in the queue, no probe, no place of a reopening key or of one with a cap, no part of the
//! replay budget, and no permit of the inner service. The next request is served as if the dropped one had not been.

mod provider;
mod scripts;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, response};
use http_body_util::BodyExt;
use test_support::policy::TestPolicy;
use tokio::task::JoinHandle;
use tokio::time::{advance, timeout};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceExt};
use tower_key_failover::policy::{BodyEvidence, Success};
use tower_key_failover::pool::{KeyPool, KeyState};
use tower_key_failover::{
    BoxError, KeyFailover, KeyFailoverLayer, ProviderPolicy, ReplayBudget, delegate_policy,
};

use self::provider::{Piece, Provider, Reply, SlowBody};

/// What happens, and what has to be true after the request was dropped.
struct Script {
    pool: KeyPool,
    /// What has happened to the pool before.
    before: fn(&KeyPool),
    /// How long ago.
    ago: Duration,
    /// How long requests may wait for a key.
    wait: Option<Duration>,
    upload: &'static [Piece],
    replies: &'static [Reply],
    /// Within this time, the next request is served.
    next_within: Option<Duration>,
    /// Whether all keys are valid then.
    returns: bool,
}

/// When a request is dropped.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Before this poll. The request has been woken.
    Before(usize),
    /// After this poll. The request has not been woken.
    After(usize),
}

/// Another request, sent before or after the one that is dropped.
#[derive(Clone, Copy, Debug)]
enum Company {
    None,
    Before,
    After,
}

type Layered = KeyFailover<ConcurrencyLimit<Provider>, Policy>;

/// Drops a request at every moment, until it is complete before that.
async fn sweep(script: fn() -> Script) {
    sweep_with(script, Company::None).await;
}

async fn sweep_with(script: fn() -> Script, company: Company) {
    const MAX_POLLS: usize = 200;

    for moment in [Moment::Before, Moment::After] {
        let mut polls = 0;
        while !is_complete(script(), moment(polls), company).await {
            polls += 1;
            assert!(polls < MAX_POLLS, "the request is never complete");
        }
        assert!(polls >= 3, "there is something to drop");
    }
}

/// Whether the request is complete by then. Checks that nothing is left of it in any case.
async fn is_complete(script: Script, moment: Moment, company: Company) -> bool {
    let pool = Arc::new(script.pool);
    (script.before)(&pool);
    advance(script.ago).await;
    let budget = ReplayBudget::new(1 << 20);
    let provider = Provider::new(script.replies);
    let mut layer =
        KeyFailoverLayer::new(Policy::default(), Arc::clone(&pool)).replay_budget(budget.clone());
    if let Some(wait) = script.wait {
        layer = layer.wait_for_key(wait);
    }
    let service = layer.layer(ConcurrencyLimit::new(provider.clone(), 1));
    drop(layer);

    let mut others = Vec::new();
    if let Company::Before = company {
        others.push(spawn(&service));
        advance(Duration::ZERO).await;
        tokio::task::yield_now().await;
    }
    let request = send(service.clone(), script.upload).await;
    if let Company::After = company {
        others.push(spawn(&service));
        advance(Duration::ZERO).await;
        tokio::task::yield_now().await;
    }
    let complete = run_until(request, moment).await;

    provider.recover();
    if others.is_empty() {
        assert_eq!(budget.held(), 0, "{moment:?}: recorded bytes");
        assert_eq!(provider.alive(), 0, "{moment:?}: calls and bodies");
        if script.next_within.is_some() {
            others.push(spawn(&service));
        }
    }
    for other in others {
        let within = script.next_within.unwrap();
        let status = timeout(within, other).await;
        let status = status.unwrap_or_else(|_| panic!("{moment:?}: another request is not served"));
        assert_eq!(status.unwrap(), 200, "{moment:?}: another request");
    }
    if script.returns {
        let states = pool.states();
        assert!(
            states.iter().all(|state| *state == KeyState::Valid),
            "{moment:?}: {states:?}"
        );
    }
    let in_flight = pool.snapshot().keys.into_iter();
    let in_flight = in_flight.filter(|key| key.in_flight.is_some_and(|count| count > 0));
    assert_eq!(in_flight.count(), 0, "{moment:?}: requests in flight");
    drop(service);
    assert_eq!((budget.held(), provider.alive()), (0, 0), "{moment:?}");
    assert_eq!(Arc::strong_count(&pool), 1, "{moment:?}: the pool");
    complete
}

/// Sends a request, and reads the response to its end.
async fn send(
    mut service: Layered,
    upload: &'static [Piece],
) -> impl Future<Output = Result<u16, BoxError>> + Send {
    let request = Request::post("http://upstream.test/").body(SlowBody::of(upload));
    let response = service.ready().await.unwrap().call(request.unwrap());
    // A caller that keeps the service does not keep what the request holds.
    drop(service);
    async move {
        let response = response.await?;
        let status = response.status();
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            frame?;
        }
        Ok(status.as_u16())
    }
}

fn spawn(service: &Layered) -> JoinHandle<u16> {
    let service = service.clone();
    tokio::spawn(async move { send(service, &[Piece::Data("next")]).await.await.unwrap() })
}

/// Runs a request until it is complete or dropped. Returns whether it is complete.
async fn run_until<F: Future>(request: F, moment: Moment) -> bool {
    let mut request = pin!(Some(request));
    let mut polls = 0;
    std::future::poll_fn(|cx| {
        if matches!(moment, Moment::Before(drop_at) if polls == drop_at) {
            request.set(None);
            return Poll::Ready(false);
        }
        polls += 1;
        let is_complete = poll(request.as_mut(), cx).is_ready();
        let drops = matches!(moment, Moment::After(drop_at) if polls > drop_at);
        if is_complete || drops {
            request.set(None);
            return Poll::Ready(is_complete);
        }
        Poll::Pending
    })
    .await
}

fn poll<F: Future>(request: Pin<&mut Option<F>>, cx: &mut Context<'_>) -> Poll<()> {
    let request = request.as_pin_mut().expect("it is not dropped yet");
    request.poll(cx).map(drop)
}

/// A policy with late successes: the response header `x-said` says where.
#[derive(Clone, Default)]
struct Policy(TestPolicy);

impl ProviderPolicy for Policy {
    delegate_policy!(|self| self.0 =>
        is_byok, inject_key, scope, classify, classify_body, exhausted_response);

    fn success(&self, response: &response::Parts) -> Success {
        match response.headers.get("x-said").map(|said| said.as_bytes()) {
            Some(b"trailers") => Success::Trailers,
            Some(b"first event") => Success::FirstEvent,
            _ => self.0.success(response),
        }
    }

    fn success_in_body(&self, _: &response::Parts, body: &BodyEvidence<'_>) -> bool {
        match body {
            BodyEvidence::Partial { bytes, .. } => bytes.starts_with(b"data: good"),
            _ => body.trailers().is_some(),
        }
    }
}
