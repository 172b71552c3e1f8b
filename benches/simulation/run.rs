//! One run: the pool and the layer between clients and a provider, with paused time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_key_failover::pool::{KeyChoice, KeyPool, KeyPoolBuilder};
use tower_key_failover::{KeyFailoverLayer, RequestBody, ResponseBody};

use crate::arrivals::Arrival;
use crate::limiters::Limiter;
use crate::provider::{Policy, Provider, Served, UntilEnd, seconds};

/// What one run consists of.
pub struct Run {
    /// One for each key.
    pub limiters: Vec<Box<dyn Limiter>>,
    /// How long a message to the provider is under way, one way, in seconds.
    pub delay: f64,
    pub arrivals: Vec<Arrival>,
    /// Requests that arrive earlier do not count, in seconds.
    pub warm_up: f64,
    pub wait_for_key: Option<Duration>,
    pub max_attempts: Option<usize>,
    pub pool: fn(KeyPoolBuilder) -> KeyPoolBuilder,
    /// One for each key, unless all keys have the same.
    pub weights: Option<fn(usize) -> u32>,
    /// Whether the requests of a session use the same key.
    pub has_affinity: bool,
    pub seed: u64,
}

/// What happened in one run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub requests: f64,
    /// Requests without a success.
    pub failed: f64,
    /// Attempts that the provider refused.
    pub refused: f64,
    /// Requests that could have found their session's prompt in the cache of a key, and those that did.
    pub could_hit: f64,
    pub hits: f64,
}

impl Outcome {
    /// Each outcome counts the same, however many requests it has.
    pub fn mean(outcomes: &[Self]) -> Self {
        let mean = |figure: fn(&Self) -> f64| {
            outcomes.iter().map(figure).sum::<f64>() / outcomes.len() as f64
        };
        Self {
            requests: 1000.0,
            failed: mean(Self::failed_per_mille),
            refused: mean(Self::refused_per_mille),
            could_hit: 1.0,
            hits: mean(Self::hit_rate),
        }
    }

    /// The share of prompts that are found in the cache of a key.
    pub fn hit_rate(&self) -> f64 {
        self.hits / self.could_hit.max(1.0)
    }

    pub fn failed_per_mille(&self) -> f64 {
        1000.0 * self.failed / self.requests.max(1.0)
    }

    pub fn refused_per_mille(&self) -> f64 {
        1000.0 * self.refused / self.requests.max(1.0)
    }
}

#[derive(Default)]
struct Records {
    outcome: Outcome,
    /// When each session last used each key.
    used: HashMap<(u64, usize), Instant>,
}

impl Records {
    fn served(&mut self, arrival: &Arrival, counts: bool, Served(key): Served) {
        /// How long a provider caches a prompt.
        const CACHED: Duration = Duration::from_secs(300);

        let now = Instant::now();
        let last = self.used.insert((arrival.session, key), now);
        if counts && !arrival.is_first_of_session {
            self.outcome.could_hit += 1.0;
            if last.is_some_and(|last| now.saturating_duration_since(last) <= CACHED) {
                self.outcome.hits += 1.0;
            }
        }
    }
}

/// In the extensions of a request: whether it arrives after the warm-up.
#[derive(Clone, Copy)]
struct Counts(bool);

impl Run {
    pub fn simulate(self) -> Outcome {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(self.send_all())
    }

    async fn send_all(self) -> Outcome {
        let pool = (0..self.limiters.len()).fold(KeyPool::builder(), |pool, at| {
            let pool = pool.key(format!("key-{at}"));
            match self.weights {
                Some(weight) => pool.weight(weight(at)),
                None => pool,
            }
        });
        let pool = (self.pool)(pool.max_waiters(usize::MAX)).build().unwrap();

        let records = Arc::new(Mutex::new(Records::default()));
        let provider = Arc::new(Provider::new(self.limiters, self.delay, self.seed));
        let refusals = Arc::clone(&records);
        let inner = service_fn(move |request: Request<RequestBody<Empty<Bytes>>>| {
            let Counts(counts) = *request.extensions().get().expect("the client adds it");
            let records = Arc::clone(&refusals);
            let on_refusal = move || {
                if counts {
                    records.lock().unwrap().outcome.refused += 1.0;
                }
            };
            Arc::clone(&provider).respond(request, on_refusal)
        });

        let mut layer = KeyFailoverLayer::new(Policy, pool);
        if let Some(time) = self.wait_for_key {
            layer = layer.wait_for_key(time);
        }
        if let Some(attempts) = self.max_attempts {
            layer = layer.max_attempts(attempts);
        }
        let service = layer.layer(inner);

        let start = Instant::now();
        let mut requests = JoinSet::new();
        for arrival in self.arrivals {
            sleep_until(start + seconds(arrival.at)).await;
            let counts = arrival.at >= self.warm_up;
            let mut request = Request::new(Empty::new());
            if self.has_affinity {
                let choice = KeyChoice::new().affinity(arrival.session);
                request.extensions_mut().insert(choice);
            }
            let records = Arc::clone(&records);
            requests.spawn(send(service.clone(), request, arrival, counts, records));
            while requests.try_join_next().is_some() {}
        }
        requests.join_all().await;
        let records = records.lock().unwrap();
        records.outcome.clone()
    }
}

async fn send<S>(
    service: S,
    mut request: Request<Empty<Bytes>>,
    arrival: Arrival,
    counts: bool,
    records: Arc<Mutex<Records>>,
) where
    S: Service<
            Request<Empty<Bytes>>,
            Response = Response<ResponseBody<UntilEnd>>,
            Error: std::fmt::Debug,
        >,
{
    request.extensions_mut().insert(arrival);
    request.extensions_mut().insert(Counts(counts));
    let response = service.oneshot(request).await.unwrap();
    let served = response.extensions().get::<Served>().copied();
    {
        let mut records = records.lock().unwrap();
        if counts {
            records.outcome.requests += 1.0;
            records.outcome.failed += f64::from(u8::from(served.is_none()));
        }
        if let Some(served) = served {
            records.served(&arrival, counts, served);
        }
    }
    response.into_body().collect().await.unwrap();
}
