//! The same promises over hours, with the layer alone and paused time.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use tokio::time::advance;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_key_failover::policy::Provider;
use tower_key_failover::{KeyFailoverLayer, KeyPool, RequestBody};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: usize = 60 * 60;
const TICK: Duration = Duration::from_millis(100);

/// A provider that responds to keys whose name contains `dead` with a status, and to others with 200.
#[derive(Clone)]
struct Upstream {
    status: Arc<AtomicU16>,
    refusals: Arc<AtomicUsize>,
}

impl Upstream {
    fn new(status: u16) -> Self {
        Self {
            status: Arc::new(AtomicU16::new(status)),
            refusals: Arc::default(),
        }
    }

    fn refusals(&self) -> usize {
        self.refusals.load(Ordering::Relaxed)
    }
}

fn layer<const N: usize>(keys: [&'static str; N]) -> KeyFailoverLayer<Provider> {
    let pool = Arc::new(KeyPool::new(keys).unwrap());
    KeyFailoverLayer::new(Provider::openai(), pool)
}

/// Sends one request, and returns the status of its response.
async fn send(layer: &KeyFailoverLayer<Provider>, upstream: &Upstream) -> u16 {
    let upstream = upstream.clone();
    let service = service_fn(move |request: Request<RequestBody<Body>>| {
        let key = request.headers()["authorization"].to_str().unwrap();
        let status = match key.contains("dead") {
            true => upstream.status.load(Ordering::Relaxed),
            false => 200,
        };
        upstream
            .refusals
            .fetch_add(usize::from(status != 200), Ordering::Relaxed);
        let response = Response::builder().status(status).body(Body::empty());
        async move { Ok::<_, Infallible>(response.unwrap()) }
    });
    let mut service = layer.layer(service);
    let request = Request::post("http://upstream/").body(Body::empty());
    let service = service.ready().await.unwrap();
    service
        .call(request.unwrap())
        .await
        .unwrap()
        .status()
        .as_u16()
}

/// Sends a request every [`TICK`] until one succeeds, and returns how long this takes.
async fn recovers(layer: &KeyFailoverLayer<Provider>, upstream: &Upstream) -> Duration {
    let mut waited = Duration::ZERO;
    while send(layer, upstream).await != 200 {
        advance(TICK).await;
        waited += TICK;
        assert!(waited < 60 * SECOND, "the pool does not recover");
    }
    waited
}

#[tokio::test(start_paused = true)]
async fn two_dead_keys_in_front_cost_one_request_with_max_attempts_2() {
    for status in [401, 403] {
        let upstream = Upstream::new(status);
        let layer = layer(["dead-0", "dead-1", "good"]);
        let layer = layer.max_attempts(2);
        assert_ne!(send(&layer, &upstream).await, 200);

        for _ in 0..2 * HOUR {
            advance(SECOND).await;
            assert_eq!(send(&layer, &upstream).await, 200, "{status}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_key_costs_a_few_attempts_per_hour() {
    for status in [401, 403] {
        let upstream = Upstream::new(status);
        let layer = layer(["dead", "good"]);
        let mut before = 0;
        for hour in 0..4 {
            for _ in 0..HOUR {
                advance(SECOND).await;
                assert_eq!(send(&layer, &upstream).await, 200, "{status}");
            }
            let wasted = upstream.refusals() - before;
            before = upstream.refusals();
            let most = if hour == 0 { 10 } else { 3 };
            assert!(wasted <= most, "{status}: {wasted} attempts in hour {hour}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_serves_again_within_two_seconds_after_all_its_keys_were_refused() {
    for _ in 0..100 {
        let upstream = Upstream::new(401);
        let layer = layer(["dead-0", "dead-1", "dead-2"]);
        assert_ne!(send(&layer, &upstream).await, 200);
        upstream.status.store(200, Ordering::Relaxed);

        assert!(recovers(&layer, &upstream).await < 2 * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_serves_again_within_eight_seconds_after_a_long_outage() {
    for _ in 0..5 {
        const OUTAGE: usize = 1800; // ticks

        let upstream = Upstream::new(401);
        let layer = layer(["dead-0", "dead-1", "dead-2"]);
        for _ in 0..OUTAGE {
            advance(TICK).await;
            assert_ne!(send(&layer, &upstream).await, 200);
        }
        // One wasted attempt at a time, at most one per 2.5 s.
        assert!(
            upstream.refusals() < OUTAGE / 25 + 10,
            "{}",
            upstream.refusals()
        );

        upstream.status.store(200, Ordering::Relaxed);

        assert!(recovers(&layer, &upstream).await < 8 * SECOND);
    }
}
