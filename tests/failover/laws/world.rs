//! A pool and a layer over the simulated provider, and a log of every attempt.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, sleep, timeout};
use tower::util::BoxCloneService;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_key_failover::policy::Provider;
use tower_key_failover::pool::{KeyState, NewKey};
use tower_key_failover::{KeyFailoverLayer, KeyPool, RequestBody};

use super::provider::{Health, Kind, Script, respond, serves};

/// Longer than any response takes, and shorter than a stalled body.
const PATIENCE: Duration = Duration::from_secs(30);

/// One attempt at the provider.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub request: usize,
    pub kind: Kind,
    pub key: usize,
    pub at: Duration,
    /// The key's state when the attempt started.
    pub state: KeyState,
    /// The position of the response among all responses; `None` if the request was dropped before.
    pub response: Option<usize>,
    /// Whether the provider served it.
    pub served: bool,
}

/// What happened to a request.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub kind: Kind,
    /// `None` if the caller gave up.
    pub status: Option<u16>,
}

#[derive(Debug, Default)]
struct Log {
    attempts: Vec<Attempt>,
    responses: usize,
    /// The number of responses before each key was first seen permanently marked.
    convicted: Vec<Option<usize>>,
}

type Client = BoxCloneService<
    Request<Full<Bytes>>,
    Response<tower_key_failover::ResponseBody<Script>>,
    Infallible,
>;

#[derive(Clone)]
pub struct World {
    pub pool: Arc<KeyPool>,
    health: Arc<[Health]>,
    log: Arc<Mutex<Log>>,
    client: Arc<Mutex<Client>>,
    start: Instant,
    requests: Arc<Mutex<usize>>,
}

fn text(key: usize) -> String {
    format!("sk-key-{key}-0123456789")
}

fn number(text: &str) -> usize {
    text.split('-').nth(2).unwrap().parse().unwrap()
}

/// Runs a future on a runtime with paused time.
pub fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(future)
}

impl World {
    /// The intervals between probes vary with `jitter`.
    pub fn new(health: &[Health], jitter: u64) -> Self {
        let builder = KeyPool::builder().with_probe_jitter_of(jitter);
        let pool = (0..health.len()).fold(builder, |pool, key| {
            pool.labeled_key(key.to_string(), text(key))
        });
        let pool = Arc::new(pool.build().unwrap());
        let health: Arc<[Health]> = health.into();
        let log = Arc::new(Mutex::new(Log {
            convicted: vec![None; health.len()],
            ..Log::default()
        }));
        let start = Instant::now();
        let provider = {
            let (pool, health, log) = (Arc::clone(&pool), Arc::clone(&health), Arc::clone(&log));
            service_fn(move |request: Request<RequestBody<Full<Bytes>>>| {
                attempt(
                    request,
                    Arc::clone(&pool),
                    Arc::clone(&health),
                    Arc::clone(&log),
                    start,
                )
            })
        };
        let layer = KeyFailoverLayer::new(Provider::openai(), Arc::clone(&pool));
        Self {
            client: Arc::new(Mutex::new(BoxCloneService::new(layer.layer(provider)))),
            pool,
            health,
            log,
            start,
            requests: Arc::default(),
        }
    }

    /// Serves a good request with each good key, so that each has succeeded once.
    pub async fn warm_up(&self) {
        for _ in 0..self.health.len() {
            self.send(Kind::Good, Duration::ZERO, None).await;
            self.rotate();
        }
    }

    /// Moves the first key to the end.
    pub fn rotate(&self) {
        let mut keys: Vec<_> = self
            .pool
            .keys()
            .map(|key| number(key.expose_secret()))
            .collect();
        keys.rotate_left(1);
        let keys = keys
            .into_iter()
            .map(|key| NewKey::new(text(key)).label(key.to_string()));
        self.pool.replace_keys(keys).unwrap();
    }

    /// Sends a request and reads the response. The provider takes `latency`; the caller gives up after
    /// `patience`.
    pub async fn send(&self, kind: Kind, latency: Duration, patience: Option<Duration>) -> Outcome {
        let number = {
            let mut requests = self.requests.lock().unwrap();
            *requests += 1;
            *requests
        };
        let mut request = Request::post("http://upstream.test/v1/responses");
        let extensions = request.extensions_mut().unwrap();
        extensions.insert(Asked {
            number,
            kind,
            latency,
        });
        let request = request.body(Full::from("{}")).unwrap();
        let mut client = self.client.lock().unwrap().clone();
        let exchange = async {
            let response = client.ready().await.unwrap().call(request).await.unwrap();
            let status = response.status().as_u16();
            // A stalled or broken body does not change the status.
            let _ = timeout(PATIENCE, response.into_body().collect()).await;
            status
        };
        let status = match patience {
            Some(patience) => timeout(patience, exchange).await.ok(),
            None => Some(exchange.await),
        };
        note_marks(&self.pool, &self.log);
        Outcome { kind, status }
    }

    pub fn is_good(&self, key: usize) -> bool {
        self.health[key] == Health::Good
    }

    pub fn attempts(&self) -> Vec<Attempt> {
        self.log.lock().unwrap().attempts.clone()
    }

    /// The keys that were permanently marked at some time, and the number of responses until then.
    pub fn convictions(&self) -> Vec<(usize, usize)> {
        let log = self.log.lock().unwrap();
        let marked = log.convicted.iter().enumerate();
        marked.filter_map(|(key, at)| Some((key, (*at)?))).collect()
    }

    pub fn state(&self, key: usize) -> KeyState {
        state(&self.pool, key)
    }

    pub fn suspicions(&self, key: usize) -> u32 {
        let snapshot = self.pool.snapshot();
        let label = key.to_string();
        let mut keys = snapshot.keys.iter();
        keys.find(|it| it.label.as_deref() == Some(&label))
            .unwrap()
            .suspicions
    }

    pub fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(self.start)
    }
}

#[derive(Clone, Copy)]
struct Asked {
    number: usize,
    kind: Kind,
    latency: Duration,
}

async fn attempt(
    request: Request<RequestBody<Full<Bytes>>>,
    pool: Arc<KeyPool>,
    health: Arc<[Health]>,
    log: Arc<Mutex<Log>>,
    start: Instant,
) -> Result<Response<Script>, Infallible> {
    note_marks(&pool, &log);
    let asked = *request.extensions().get::<Asked>().unwrap();
    let authorization = request.headers()["authorization"].to_str().unwrap();
    let key = number(authorization.trim_start_matches("Bearer "));
    let served = serves(asked.kind, health[key], key, health.len());
    let number = {
        let mut log = log.lock().unwrap();
        log.attempts.push(Attempt {
            request: asked.number,
            kind: asked.kind,
            key,
            at: Instant::now().saturating_duration_since(start),
            state: state(&pool, key),
            response: None,
            served,
        });
        log.attempts.len() - 1
    };
    sleep(asked.latency).await;
    let mut log = log.lock().unwrap();
    log.responses += 1;
    let position = log.responses;
    log.attempts[number].response = Some(position);
    Ok(respond(asked.kind, health[key], key, health.len()))
}

/// The state of a key by its number, wherever it is in the list.
fn state(pool: &KeyPool, key: usize) -> KeyState {
    let mut keys = pool.keys();
    keys.find(|it| number(it.expose_secret()) == key)
        .unwrap()
        .state()
}

fn note_marks(pool: &KeyPool, log: &Mutex<Log>) {
    let mut log = log.lock().unwrap();
    let responses = log.responses;
    for key in pool.keys().filter(|key| key.state() == KeyState::Permanent) {
        let at = number(key.expose_secret());
        log.convicted[at].get_or_insert(responses);
    }
}
