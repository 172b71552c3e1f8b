//! Operators who remove keys from the file and add them again, and disable and reinstate keys. They
//! always choose the key in use. Once the gateway has applied the change, no attempt starts with it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};
use tower_key_failover::BoxError;

use crate::gateway::Admin;
use crate::keys::SoakKey;
use crate::ledger::Ledger;
use crate::upstream::{Upstream, within};

/// How long a key is unavailable, and how long the next change waits after that.
const GONE: Duration = Duration::from_secs(3);
const BACK: Duration = Duration::from_secs(1);

pub struct Operator {
    pub upstream: Arc<Upstream>,
    pub admin: Admin,
    pub ledger: Arc<Ledger>,
}

impl Operator {
    pub async fn run(self, until: Instant) {
        for turn in 0.. {
            if Instant::now() + GONE + BACK >= until {
                return;
            }
            let done = match turn % 2 {
                0 => self.remove_one().await,
                _ => self.disable_one().await,
            };
            if let Err(error) = done {
                return self
                    .ledger
                    .violation(format!("an operator failed: {error}"));
            }
            sleep(BACK).await;
        }
    }

    async fn remove_one(&self) -> Result<(), BoxError> {
        let Some((key, _)) = self.in_use().await? else {
            return Ok(());
        };
        let keys = &self.upstream.keys;
        key.goes();
        let without = keys.file(key.route, Some(key));
        self.admin.write_keys(key.route, &without)?;
        self.until(key, |shown| shown.is_none()).await?;
        key.is_known_to_be_gone();
        sleep(GONE).await;
        key.returns();
        self.admin
            .write_keys(key.route, &keys.file(key.route, None))?;
        self.until(key, |shown| shown.is_some()).await?;
        key.has_returned();
        Ok(())
    }

    async fn disable_one(&self) -> Result<(), BoxError> {
        let Some((key, position)) = self.in_use().await? else {
            return Ok(());
        };
        key.goes();
        self.admin.change(key, position, "disable").await?;
        key.is_known_to_be_gone();
        sleep(GONE).await;
        key.returns();
        self.admin.change(key, position, "reinstate").await?;
        key.has_returned();
        Ok(())
    }

    /// The first usable key of a route, and its position there.
    async fn in_use(&self) -> Result<Option<(&SoakKey, u64)>, BoxError> {
        let told = self.admin.keys().await?;
        let mut told = told.as_array().into_iter().flatten();
        let Some(told) = told.find(|told| told["state"] == "valid") else {
            return Ok(None);
        };
        let position = told["position"].as_u64().unwrap_or_default();
        let mut keys = self.upstream.keys.all.iter();
        let key = keys.find(|key| key.is_shown_by(told));
        Ok(key.map(|key| (key, position)))
    }

    /// Waits until the gateway shows it.
    async fn until(
        &self,
        key: &SoakKey,
        is_so: impl Fn(Option<&Value>) -> bool,
    ) -> Result<(), BoxError> {
        let shown = async {
            loop {
                let told = self.admin.keys().await?;
                let mut told = told.as_array().into_iter().flatten();
                if is_so(told.find(|told| key.is_shown_by(told))) {
                    return Ok(());
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        within(10, shown).await?
    }
}
