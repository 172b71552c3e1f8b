//! What sharing means for requests.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_key_failover::policy::Provider;
use tower_key_failover::pool::KeyState;
use tower_key_failover::{KeyFailoverLayer, RequestBody};

use crate::replica::{KEYS, Replica, builder, fast, until};
use crate::server;

/// The provider as one replica sees it.
#[derive(Clone, Default)]
struct Upstream(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    refuses: HashSet<&'static str>,
    attempts: Vec<String>,
}

impl Upstream {
    fn refusing(keys: impl IntoIterator<Item = &'static str>) -> Self {
        let upstream = Self::default();
        upstream.0.lock().unwrap().refuses.extend(keys);
        upstream
    }

    fn accept_all(&self) {
        self.0.lock().unwrap().refuses.clear();
    }

    fn attempts_with(&self, key: &str) -> usize {
        let seen = self.0.lock().unwrap();
        seen.attempts.iter().filter(|used| *used == key).count()
    }

    /// Sends a request through the layer of `replica`.
    async fn request(&self, replica: &Replica) -> StatusCode {
        let this = self.clone();
        let client = service_fn(move |request: Request<RequestBody<Full<Bytes>>>| {
            let key = request.headers()["authorization"].to_str().unwrap();
            let key = key.trim_start_matches("Bearer ").to_owned();
            let mut seen = this.0.lock().unwrap();
            let is_refused = seen.refuses.contains(&*key);
            seen.attempts.push(key);
            let status = if is_refused { 401 } else { 200 };
            let response = Response::builder().status(status);
            std::future::ready(Ok::<_, Infallible>(response.body(Full::default()).unwrap()))
        });
        let layer = KeyFailoverLayer::new(Provider::openai(), Arc::clone(&replica.pool));
        let service = ServiceBuilder::new().layer(layer).service(client);
        let request = Request::post("https://api.openai.com/v1/responses");
        let request = request.body(Full::from("{}")).unwrap();
        service.oneshot(request).await.unwrap().status()
    }
}

#[tokio::test]
async fn a_dead_key_costs_other_replicas_at_most_one_attempt() {
    let server = server!();
    let (one, other) = (
        Replica::fast(&server.url()).await,
        Replica::fast(&server.url()).await,
    );
    let (upstream, other_upstream) = (Upstream::refusing([KEYS[0]]), Upstream::refusing([KEYS[0]]));
    assert_eq!(upstream.request(&one).await, StatusCode::OK);
    assert_eq!(one.state(0), KeyState::Permanent);
    until(|| other.suspicions(0) == 1).await;
    for _ in 0..20 {
        assert_eq!(other_upstream.request(&other).await, StatusCode::OK);
    }
    assert!(other_upstream.attempts_with(KEYS[0]) <= 1);
}

#[tokio::test]
async fn replicas_next_to_a_misconfigured_one_keep_serving() {
    let server = server!();
    let (good, bad) = (
        Replica::fast(&server.url()).await,
        Replica::fast(&server.url()).await,
    );
    let (provider, refused) = (Upstream::default(), Upstream::refusing(KEYS));
    let mut served = 0;
    for _ in 0..300 {
        refused.request(&bad).await;
        served += u32::from(provider.request(&good).await == StatusCode::OK);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(served, 300);
    assert!(provider.0.lock().unwrap().attempts.len() <= 303);
}

#[tokio::test]
async fn a_key_that_a_probe_returned_elsewhere_is_probed_at_once() {
    let server = server!();
    let one = builder()
        .without_probe_jitter()
        .probe_after(Duration::from_millis(200));
    let one = Replica::of(fast(&server.url()), one);
    let other = Replica::of(fast(&server.url()), builder());
    one.connected().await;
    other.connected().await;
    let (upstream, other_upstream) = (Upstream::refusing([KEYS[0]]), Upstream::refusing([KEYS[0]]));
    upstream.request(&one).await;
    one.flushed().await;
    until(|| other.suspicions(0) == 1).await;
    other.key(0).mark_permanent();

    // The key works again. One replica finds out, the other one would wait for a minute.
    upstream.accept_all();
    other_upstream.accept_all();
    tokio::time::sleep(Duration::from_millis(250)).await;
    upstream.request(&one).await;
    assert_eq!(one.state(0), KeyState::Valid);
    one.flushed().await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
    while other.state(0) != KeyState::Valid {
        other_upstream.request(&other).await;
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
