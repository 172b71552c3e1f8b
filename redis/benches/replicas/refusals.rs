//! How often many replicas are refused, and what sharing costs the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::time::{Instant, sleep, sleep_until};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_key_failover::policy::Provider as Policy;
use tower_key_failover::{KeyFailoverLayer, KeyPool, RequestBody};

use crate::process::resident_bytes;
use crate::provider::Provider;
use crate::random::Random;
use crate::replica::Replica;
use crate::scenario::{Scenario, Sharing};
use crate::server::{Server, Statistics};

pub(crate) struct Figures {
    pub(crate) attempts_per_minute: f64,
    pub(crate) refused_per_minute: f64,
    /// Requests whose client got a refusal, of 1,000.
    pub failed_per_1000: f64,
    /// Percent of one core.
    pub(crate) server_cpu: f64,
    /// The following three are of the mean replica.
    pub(crate) commands_per_minute: f64,
    pub(crate) bytes_to_server_per_second: f64,
    pub(crate) bytes_from_server_per_second: f64,
    /// What one replica adds to the memory of the process: its pool, its connection and its task.
    pub(crate) replica_bytes: f64,
    /// What one replica adds to the memory of the server.
    pub(crate) server_bytes: f64,
}

#[derive(Default)]
struct Clients {
    sent: AtomicU64,
    failed: AtomicU64,
}

/// Returns `None` if there is no redis-server.
pub(crate) async fn measure(scenario: Scenario) -> Option<Figures> {
    let Scenario { replicas, .. } = scenario;
    let server = Server::start().await?;
    if scenario.sharing == Sharing::Polls {
        server.deny_messages().await;
    }
    let (empty, resident) = (server.statistics().await, resident_bytes());
    let all = start(scenario, &server.url()).await;
    let per_replica = |before: f64, after: f64| (after - before) / replicas as f64;
    let replica_bytes = per_replica(resident, resident_bytes());
    let server_bytes = per_replica(empty.memory_bytes, server.statistics().await.memory_bytes);

    let provider = Provider::new(&scenario);
    let (provider, clients) = (Arc::new(provider), Arc::new(Clients::default()));
    let pools: Vec<_> = all
        .iter()
        .map(|replica| Arc::clone(&replica.pool))
        .collect();
    let traffic = send(scenario, pools, Arc::clone(&provider), Arc::clone(&clients));
    let traffic = tokio::spawn(traffic);

    sleep(scenario.warm_up).await;
    let outages: u64 = all.iter().map(Replica::outages).sum();
    let before = (Reading::of(&server, &provider, &clients)).await;
    sleep(scenario.measured).await;
    let after = (Reading::of(&server, &provider, &clients)).await;
    traffic.abort();
    let outages = all.iter().map(Replica::outages).sum::<u64>() - outages;
    assert_eq!(
        outages, 0,
        "connections were lost, because the machine is too busy"
    );

    let seconds = (after.at - before.at).as_secs_f64();
    let per_second = |figure: fn(&Reading) -> f64| (figure(&after) - figure(&before)) / seconds;
    let of_each = |figure: fn(&Reading) -> f64| per_second(figure) / replicas as f64;
    let refused = per_second(|reading| reading.refused);
    Some(Figures {
        attempts_per_minute: 60.0 * (refused + per_second(|reading| reading.served)),
        refused_per_minute: 60.0 * refused,
        failed_per_1000: 1_000.0 * per_second(|reading| reading.failed)
            / per_second(|reading| reading.sent),
        server_cpu: 100.0 * per_second(|reading| reading.server.cpu),
        commands_per_minute: 60.0 * of_each(|reading| reading.server.commands),
        bytes_to_server_per_second: of_each(|reading| reading.server.received_bytes),
        bytes_from_server_per_second: of_each(|reading| reading.server.sent_bytes),
        replica_bytes,
        server_bytes,
    })
}

/// Starts the replicas one after the other, and waits until all are connected.
async fn start(scenario: Scenario, url: &str) -> Vec<Replica> {
    let Scenario {
        keys, selection, ..
    } = scenario;
    let mut all = Vec::new();
    for _ in 0..scenario.replicas {
        all.push(match scenario.sharing {
            Sharing::None => Replica::alone(keys, selection),
            Sharing::Polls => Replica::shared(url, keys, selection, 2),
            Sharing::Pushes => Replica::shared(url, keys, selection, 1),
        });
        sleep(Duration::from_millis(1)).await;
    }
    for replica in &all {
        replica.connected().await;
    }
    all
}

/// Sends requests through the layers of random replicas, at random times.
async fn send(
    scenario: Scenario,
    pools: Vec<Arc<KeyPool>>,
    provider: Arc<Provider>,
    clients: Arc<Clients>,
) {
    let services: Vec<_> = pools
        .into_iter()
        .map(|pool| {
            let provider = Arc::clone(&provider);
            ServiceBuilder::new()
                .layer(KeyFailoverLayer::new(Policy::bearer(), pool))
                .service(service_fn(
                    move |request: Request<RequestBody<Full<Bytes>>>| {
                        let provider = Arc::clone(&provider);
                        async move { provider.respond(request).await }
                    },
                ))
        })
        .collect();
    let mut random = Random::new(!scenario.seed);
    let mut next = Instant::now();
    loop {
        next += Duration::from_secs_f64(random.exponential(1.0 / scenario.requests_per_second));
        sleep_until(next).await;
        let service = services[random.below(services.len())].clone();
        let clients = Arc::clone(&clients);
        tokio::spawn(async move {
            let request = Request::post("https://provider.example/v1/responses");
            let request = request.body(Full::from("{}")).unwrap();
            let response = service.oneshot(request).await.unwrap();
            clients.sent.fetch_add(1, Ordering::Relaxed);
            let is_failed = !response.status().is_success();
            clients
                .failed
                .fetch_add(u64::from(is_failed), Ordering::Relaxed);
        });
    }
}

/// All counters at one moment.
struct Reading {
    at: Instant,
    server: Statistics,
    served: f64,
    refused: f64,
    sent: f64,
    failed: f64,
}

impl Reading {
    async fn of(server: &Server, provider: &Provider, clients: &Clients) -> Self {
        let attempts = provider.attempts();
        Self {
            at: Instant::now(),
            server: server.statistics().await,
            served: attempts.served as f64,
            refused: attempts.refused as f64,
            sent: clients.sent.load(Ordering::Relaxed) as f64,
            failed: clients.failed.load(Ordering::Relaxed) as f64,
        }
    }
}
