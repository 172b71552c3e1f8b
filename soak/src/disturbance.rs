//! What happens to the replicas of a lane once during the run: one of them restarts, and the server that
//! they share is killed and starts again without its data.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};
use tower_key_failover::BoxError;

use crate::agreement::agree;
use crate::ledger::Ledger;
use crate::operator::Operator;
use crate::replica::Replica;
use crate::server::Server;

/// How long the server is away.
const OUTAGE: Duration = Duration::from_secs(3);

/// Limits that outlast the wait for an agreement.
const LASTING: Duration = Duration::from_secs(15);

pub struct Disturbance {
    pub name: &'static str,
    pub replicas: Arc<[Replica]>,
    pub operator: Operator,
    pub server: Arc<Mutex<Server>>,
    pub ledger: Arc<Ledger>,
    /// The replica that restarts.
    pub unlucky: usize,
}

impl Disturbance {
    pub async fn run(self, start: Instant, time: Duration) {
        sleep_until(start + time / 4).await;
        if let Err(error) = self.restart().await {
            self.violation(&format!("the restart of a replica failed: {error}"));
        }
        sleep_until(start + time / 2).await;
        if let Err(error) = self.outage().await {
            self.violation(&format!("the outage of the server did not end: {error}"));
        }
    }

    /// The replica learns from the other one, also that an operator has disabled a key.
    async fn restart(&self) -> Result<(), BoxError> {
        let _acting = self.operator.acting.lock().await;
        let disabled = self.operator.disable(self.unlucky).await?;
        self.replicas[self.unlucky].restart(&self.ledger).await?;
        self.agree("after a restart").await?;
        match disabled {
            Some(disabled) => self.operator.reinstate(disabled, self.unlucky).await,
            None => Ok(()),
        }
    }

    async fn outage(&self) -> Result<(), BoxError> {
        let mut server = self.server.lock().await;
        server.kill()?;
        for replica in &*self.replicas {
            replica.is_shared("disconnected").await?;
        }
        sleep(OUTAGE).await;
        server.start_again().await?;
        for replica in &*self.replicas {
            replica.is_shared("connected").await?;
        }
        self.agree("after an outage").await
    }

    async fn agree(&self, when: &str) -> Result<(), BoxError> {
        for wrong in agree(&self.replicas, LASTING).await? {
            self.violation(&format!("the replicas do not agree {when}: {wrong}"));
        }
        Ok(())
    }

    fn violation(&self, what: &str) {
        self.ledger.violation(format!("{}: {what}", self.name));
    }
}
