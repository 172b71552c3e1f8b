//! The pools that are shared.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tower_key_failover::KeyPool;
#[cfg(feature = "metrics")]
use tower_key_failover_redis::SharingState;
use tower_key_failover_redis::{Error, RedisSharing, Sharing, SharingStatus};
use tracing::warn;

use crate::bad_input::BadInput;
use crate::gateway::Gateway;

/// A reload is noticed within this time.
const EVERY: Duration = Duration::from_secs(1);
/// How long the end of the gateway waits until everything is sent.
const FLUSH: Duration = Duration::from_secs(1);

pub struct Replicas {
    url: SecretString,
    secret: SecretString,
    gateway: Arc<Gateway>,
    /// By the names of the pools.
    shared: Mutex<BTreeMap<String, SharedPool>>,
}

struct SharedPool {
    pool: Arc<KeyPool>,
    sharing: Sharing,
    running: JoinHandle<()>,
}

impl Replicas {
    /// Starts to share all pools. A server that cannot be reached is not an error.
    pub async fn start(
        url: SecretString,
        secret: SecretString,
        gateway: Arc<Gateway>,
    ) -> Result<Arc<Self>, BadInput> {
        let replicas = Arc::new(Self {
            url,
            secret,
            gateway,
            shared: Mutex::default(),
        });
        if let Some((pool, error)) = replicas.adopt_pools().first() {
            return Err(message(pool, error));
        }
        for (name, sharing) in replicas.all() {
            let started = sharing.started().await;
            started.map_err(|error| message(&name, &error))?;
        }
        tokio::spawn(Arc::clone(&replicas).keep_up());
        Ok(replicas)
    }

    /// Whether these settings can be used. Returns what is wrong with them.
    pub fn check(url: &SecretString, secret: &SecretString, route: &str) -> Result<(), String> {
        let sharing = RedisSharing::new(url.expose_secret(), route).secret(secret.clone());
        sharing.validate().map_err(|error| describe(route, &error))
    }

    /// The state of each pool's sharing, by the names of the pools.
    pub fn show(&self) -> Value {
        let statuses = self.statuses().into_iter();
        let shown = statuses.map(|(name, status)| {
            let shown = json!({
                "state": status.state.as_str(),
                "problem": status.problem,
                "subscribed": status.is_subscribed,
                "lag_ms": status.lag.as_millis() as u64,
                "pending": status.pending,
                "published": status.published,
                "applied": status.applied,
                "rejected": status.rejected,
                "outages": status.outages,
            });
            (name, shown)
        });
        Value::Object(shown.collect())
    }

    /// Adds the metrics of each pool's sharing, in the format of Prometheus.
    #[cfg(feature = "metrics")]
    pub fn write_metrics(&self, text: &mut String) {
        use std::fmt::Write;

        type Figure = fn(&SharingStatus) -> f64;
        let metrics: [(&str, &str, &str, Figure); 6] = [
            (
                "connected",
                "gauge",
                "Whether the pool is connected to its replicas",
                |status| f64::from(u8::from(status.state == SharingState::Connected)),
            ),
            (
                "lag_seconds",
                "gauge",
                "How long the oldest change waits to be sent",
                |status| status.lag.as_secs_f64(),
            ),
            (
                "published_total",
                "counter",
                "Records sent to other replicas",
                |status| status.published as f64,
            ),
            (
                "applied_total",
                "counter",
                "Records of other replicas that changed a key",
                |status| status.applied as f64,
            ),
            (
                "rejected_total",
                "counter",
                "Records that the server refused",
                |status| status.rejected as f64,
            ),
            (
                "outages_total",
                "counter",
                "Lost connections and failed attempts",
                |status| status.outages as f64,
            ),
        ];
        let statuses = self.statuses();
        for (name, kind, help, figure) in metrics {
            let name = format!("gateway_replicas_{name}");
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (pool, status) in &statuses {
                let pool = pool.replace('\\', "\\\\").replace('"', "\\\"");
                let _ = writeln!(text, "{name}{{pool=\"{pool}\"}} {}", figure(status));
            }
        }
    }

    fn statuses(&self) -> Vec<(String, SharingStatus)> {
        let all = self.all().into_iter();
        all.map(|(name, sharing)| (name, sharing.status()))
            .collect()
    }

    /// Sends what is left.
    pub async fn finish(&self) {
        let all = self.all();
        let flushes = all.iter().map(|(_, sharing)| sharing.flush(FLUSH));
        futures_util::future::join_all(flushes).await;
    }

    /// A reload can replace pools.
    async fn keep_up(self: Arc<Self>) {
        loop {
            tokio::time::sleep(EVERY).await;
            for (pool, error) in self.adopt_pools() {
                let BadInput(line) = message(&pool, &error);
                warn!(target: "gateway", "{line}: its keys are not shared");
            }
        }
    }

    /// Shares pools that are new, and stops sharing those that are gone.
    fn adopt_pools(&self) -> Vec<(String, Error)> {
        let pools = self.gateway.routes().pools();
        let mut shared = self.lock();
        shared.retain(|_, of| {
            let is_kept = pools.iter().any(|pool| Arc::ptr_eq(pool, &of.pool));
            if !is_kept {
                of.running.abort();
            }
            is_kept
        });
        let mut failed = Vec::new();
        for pool in pools {
            let name = pool.name().to_owned();
            if shared.contains_key(&name) {
                continue;
            }
            let sharing = RedisSharing::new(self.url.expose_secret(), &name);
            match sharing.secret(self.secret.clone()).share(Arc::clone(&pool)) {
                Ok((sharing, run)) => {
                    let running = tokio::spawn(run);
                    let of = SharedPool {
                        pool,
                        sharing,
                        running,
                    };
                    shared.insert(name, of);
                }
                Err(error) => failed.push((name, error)),
            }
        }
        failed
    }

    fn all(&self) -> Vec<(String, Sharing)> {
        let shared = self.lock();
        let all = shared.iter();
        all.map(|(name, of)| (name.clone(), of.sharing.clone()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, SharedPool>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn message(pool: &str, error: &Error) -> BadInput {
    BadInput(format!("--redis {}", describe(pool, error)))
}

fn describe(pool: &str, error: &Error) -> String {
    match error {
        Error::InvalidName => format!("cannot share route {pool}: {error}"),
        Error::ShortSecret => format!("needs a longer GATEWAY_REDIS_SECRET: {error}"),
        _ => format!("cannot be used: {error}"),
    }
}
