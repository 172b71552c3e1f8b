//! A provider that all replicas use.

use std::convert::Infallible;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio::time::{Instant, sleep};

use crate::limit::Limit;
use crate::random::Random;
use crate::scenario::Scenario;

pub(crate) struct Provider {
    start: Instant,
    limits: Vec<Mutex<Limit>>,
    /// From a replica to the provider, or back.
    way: Duration,
    random: Mutex<Random>,
    served: AtomicU64,
    refused: AtomicU64,
}

/// How many attempts were served and refused.
#[derive(Clone, Copy)]
pub(crate) struct Attempts {
    pub(crate) served: u64,
    pub(crate) refused: u64,
}

impl Provider {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let mut random = Random::new(scenario.seed);
        let limits = (0..scenario.keys).map(|_| Mutex::new(Limit::new(scenario, &mut random)));
        Self {
            start: Instant::now(),
            limits: limits.collect(),
            way: scenario.way,
            random: Mutex::new(random),
            served: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    pub(crate) fn attempts(&self) -> Attempts {
        Attempts {
            served: self.served.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    pub(crate) async fn respond<B>(
        &self,
        request: Request<B>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        sleep(self.way).await;
        let key = request.headers()["authorization"].to_str().unwrap();
        let (_, key) = key.rsplit_once('-').unwrap();
        let key: usize = key.parse().unwrap();
        let now = Instant::now().saturating_duration_since(self.start);
        let now = now.as_secs_f64();
        let wait = self.limits[key].lock().unwrap().request(now).err();
        let count = wait.map_or(&self.served, |_| &self.refused);
        count.fetch_add(1, Ordering::Relaxed);
        let works_for = {
            let mut random = self.random.lock().unwrap();
            match wait {
                // The first bytes of an answer, and those of a refusal.
                None => random.log_normal(0.8, 0.6).clamp(0.2, 10.0),
                Some(_) => 0.01 + 0.02 * random.unit(),
            }
        };
        sleep(self.way + Duration::from_secs_f64(works_for)).await;
        let response = match wait {
            None => Response::builder(),
            Some(wait) => Response::builder()
                .status(429)
                .header("retry-after-ms", (wait * 1_000.0).ceil() as u64),
        };
        Ok(response.body(Full::default()).unwrap())
    }
}
