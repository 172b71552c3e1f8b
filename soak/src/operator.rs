//! Operators who remove keys from the file and add them again, and disable and reinstate keys. They
//! always choose a key in use. Once all replicas have applied the change, no attempt starts with it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tower_key_failover::BoxError;

use crate::files::Files;
use crate::key::SoakKey;
use crate::keys::REPLICAS;
use crate::ledger::Ledger;
use crate::replica::Replica;
use crate::upstream::Upstream;
use crate::waiting::until_well;

/// How long a key is unavailable, and how long the next change waits after that.
const GONE: Duration = Duration::from_secs(3);
const BACK: Duration = Duration::from_secs(1);

/// How long a change may take to reach a replica: until an outage has ended, and it has connected again.
const SPREAD: u64 = 20;

pub struct Operator {
    pub upstream: Arc<Upstream>,
    pub files: Arc<Files>,
    pub replicas: Arc<[Replica]>,
    pub ledger: Arc<Ledger>,
    /// One operator acts at a time.
    pub acting: Arc<Mutex<()>>,
}

impl Operator {
    pub async fn run(self, until: Instant) {
        for turn in 0.. {
            if Instant::now() + GONE + BACK >= until {
                return;
            }
            let acting = self.acting.lock().await;
            let done = match turn % 2 {
                0 => self.remove_one().await,
                _ => self.disable_one(turn / 2, GONE).await,
            };
            if let Err(error) = done {
                return self
                    .ledger
                    .violation(format!("an operator failed: {error}"));
            }
            drop(acting);
            sleep(BACK).await;
        }
    }

    async fn remove_one(&self) -> Result<(), BoxError> {
        let Some((key, _)) = self.in_use(0).await? else {
            return Ok(());
        };
        let keys = &self.upstream.keys;
        key.goes();
        let without = keys.file(key.route, Some(key));
        self.files.write_keys(key.route, &without)?;
        self.until(key, "removed", |shown| shown.is_none()).await?;
        key.is_known_to_be_gone();
        sleep(GONE).await;
        key.returns();
        self.files
            .write_keys(key.route, &keys.file(key.route, None))?;
        self.until(key, "added", |shown| shown.is_some()).await?;
        key.has_returned();
        Ok(())
    }

    /// Disables a key through one replica, and reinstates it through another.
    pub async fn disable_one(&self, turn: usize, gone: Duration) -> Result<(), BoxError> {
        let (one, other) = (turn % REPLICAS, (turn + 1) % REPLICAS);
        if let Some(disabled) = self.disable(one).await? {
            sleep(gone).await;
            self.reinstate(disabled, other).await?;
        }
        Ok(())
    }

    /// Disables a key through this replica, and returns it with its position.
    pub async fn disable(&self, replica: usize) -> Result<Option<(&SoakKey, u64)>, BoxError> {
        let Some((key, position)) = self.in_use(replica).await? else {
            return Ok(None);
        };
        key.goes();
        let admin = self.replicas[replica].admin().await?;
        admin.change(key, position, "disable").await?;
        self.until(key, "disabled", |shown| shown.is_some_and(is_disabled))
            .await?;
        key.is_known_to_be_gone();
        Ok(Some((key, position)))
    }

    pub async fn reinstate(
        &self,
        (key, position): (&SoakKey, u64),
        replica: usize,
    ) -> Result<(), BoxError> {
        key.returns();
        let admin = self.replicas[replica].admin().await?;
        admin.change(key, position, "reinstate").await?;
        self.until(key, "reinstated", |shown| {
            shown.is_some_and(|it| !is_disabled(it))
        })
        .await?;
        key.has_returned();
        Ok(())
    }

    /// The first usable key of a route, and its position there.
    async fn in_use(&self, replica: usize) -> Result<Option<(&SoakKey, u64)>, BoxError> {
        let shown = self.replicas[replica].admin().await?.keys().await?;
        let Some(told) = shown.iter().find(|told| told["state"] == "valid") else {
            return Ok(None);
        };
        let position = told["position"].as_u64().unwrap_or_default();
        let mut keys = self.upstream.keys.all.iter();
        let key = keys.find(|key| key.is_shown_by(told));
        Ok(key.map(|key| (key, position)))
    }

    /// Waits until all replicas show it.
    async fn until(
        &self,
        key: &SoakKey,
        what: &str,
        is_so: impl Fn(Option<&Value>) -> bool,
    ) -> Result<(), BoxError> {
        for replica in &*self.replicas {
            let wrong = until_well(SPREAD, || async {
                let shown = replica.admin().await?.keys().await?;
                let told = shown.iter().find(|told| key.is_shown_by(told));
                Ok(match is_so(told) {
                    true => Vec::new(),
                    false => vec![format!("{told:?}")],
                })
            });
            if let Some(told) = wrong.await?.pop() {
                let number = replica.number;
                return Err(format!("replica {number}: {key:?} is not {what}: {told}").into());
            }
        }
        Ok(())
    }
}

fn is_disabled(told: &Value) -> bool {
    told["state"] == "permanent" && told["last_reason"] == "operator"
}
