//! One replica: a pool, and the task that shares it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;
use tower_key_failover::pool::Selection;
use tower_key_failover::{KeyPool, KeyPoolBuilder};
use tower_key_failover_redis::{RedisSharing, Sharing, SharingState, SharingStatus};

pub(crate) struct Replica {
    pub(crate) pool: Arc<KeyPool>,
    shared: Option<(Sharing, JoinHandle<()>)>,
}

impl Replica {
    pub(crate) fn alone(keys: usize, selection: Selection) -> Self {
        let keys = (0..keys).map(|at| format!("sk-of-the-bench-{at}"));
        let pool = keys.fold(KeyPool::builder(), KeyPoolBuilder::key);
        Self {
            pool: Arc::new(pool.selection(selection).build().unwrap()),
            shared: None,
        }
    }

    /// A replica whose timeouts and polls are `faster` times as fast as by default.
    pub(crate) fn shared(url: &str, keys: usize, selection: Selection, faster: u32) -> Self {
        let mut replica = Self::alone(keys, selection);
        let sharing = RedisSharing::new(url, "bench").secret("of-the-bench-0123456789");
        let sharing = sharing.faster(faster);
        let (sharing, run) = sharing.share(Arc::clone(&replica.pool)).unwrap();
        replica.shared = Some((sharing, tokio::spawn(run)));
        replica
    }

    pub(crate) async fn connected(&self) {
        let Some((sharing, _)) = &self.shared else {
            return;
        };
        while sharing.status().state != SharingState::Connected {
            sleep(Duration::from_millis(1)).await;
        }
    }

    pub(crate) fn status(&self) -> Option<SharingStatus> {
        self.shared.as_ref().map(|(sharing, _)| sharing.status())
    }

    /// The number of commands that this replica sent.
    pub(crate) fn commands(&self) -> u64 {
        self.status().map_or(0, |status| status.commands)
    }

    /// How often the connection was lost.
    pub(crate) fn outages(&self) -> u64 {
        self.status().map_or(0, |status| status.outages)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.shared {
            task.abort();
        }
    }
}
