//! The time from a mark on one replica to its application on another one.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_key_failover::policy::Provider as Policy;
use tower_key_failover::pool::Selection;
use tower_key_failover::pool::peer::{LimitMark, PeerPool};
use tower_key_failover::{KeyFailoverLayer, KeyPool, RequestBody};

use crate::random::Random;
use crate::replica::Replica;
use crate::server::Server;

const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) struct Latency {
    /// From the shortest to the longest.
    times: Vec<Duration>,
    /// The number of commands for each mark, on both replicas together and without polls.
    pub(crate) commands_per_mark: f64,
}

impl Latency {
    pub(crate) fn quantile_us(&self, part: f64) -> f64 {
        let at = (self.times.len() - 1) as f64 * part;
        self.times[at.round() as usize].as_secs_f64() * 1e6
    }
}

/// Marks one key after the other. Meanwhile, both pools serve so many requests per second.
/// Returns `None` if there is no redis-server.
pub(crate) async fn measure(marks: usize, requests_per_second: u32, seed: u64) -> Option<Latency> {
    let server = Server::start().await?;
    // The first key remains for the requests.
    let keys = marks + 1;
    let one = Replica::shared(&server.url(), keys, Selection::in_order(), 1);
    let other = Replica::shared(&server.url(), keys, Selection::in_order(), 1);
    one.connected().await;
    other.connected().await;
    let load: Vec<_> = [&one, &other]
        .map(|replica| keep_busy(Arc::clone(&replica.pool), requests_per_second / 2))
        .into_iter()
        .collect();

    let (sender, mut applied) = mpsc::unbounded_channel();
    let mut peer = PeerPool::new(Arc::clone(&other.pool));
    let watch = tokio::spawn(async move {
        for at in 1..keys {
            while peer.limit(at).state().mark == LimitMark::Open {
                peer.changed().await;
            }
            sender.send(Instant::now()).unwrap();
        }
    });
    let (mut random, mut times) = (Random::new(seed), Vec::new());
    let commands = [&one, &other].map(Replica::commands);
    let start = Instant::now();
    for key in one.pool.keys().skip(1) {
        // The next mark is not part of a batch.
        sleep(Duration::from_secs_f64(0.021 + 0.01 * random.unit())).await;
        let marked_at = Instant::now();
        key.mark_temporary(Some(HOUR));
        let applied_at = timeout(Duration::from_secs(10), applied.recv()).await;
        let Ok(Some(applied_at)) = applied_at else {
            let states = [&one, &other].map(|replica| replica.pool.states()[key.index()]);
            let statuses = [&one, &other].map(Replica::status);
            panic!("a mark does not arrive: {states:?}, {statuses:?}");
        };
        times.push(applied_at.saturating_duration_since(marked_at));
    }
    let seconds = Instant::now()
        .saturating_duration_since(start)
        .as_secs_f64();
    let polls = 2.0 * seconds / 4.0;
    let sent: u64 = (one.commands() - commands[0]) + (other.commands() - commands[1]);
    watch.await.unwrap();
    load.into_iter().for_each(|task| task.abort());
    times.sort();
    Some(Latency {
        commands_per_mark: (sent as f64 - polls) / marks as f64,
        times,
    })
}

/// Sends requests through a layer in front of a provider that responds at once.
fn keep_busy(pool: Arc<KeyPool>, requests_per_second: u32) -> JoinHandle<()> {
    let service = ServiceBuilder::new()
        .layer(KeyFailoverLayer::new(Policy::bearer(), pool))
        .service(service_fn(|_: Request<RequestBody<Full<Bytes>>>| async {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }));
    tokio::spawn(async move {
        let mut ticks = interval(Duration::from_millis(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            for _ in 0..requests_per_second / 1_000 {
                let request = Request::post("https://provider.example/v1/responses");
                let request = request.body(Full::from("{}")).unwrap();
                let response = service.clone().oneshot(request).await.unwrap();
                assert!(response.status().is_success());
            }
        }
    })
}
