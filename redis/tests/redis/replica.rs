//! A replica: a pool, and the task that shares it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tower_key_failover::KeyPool;
use tower_key_failover::pool::{Key, KeyPoolBuilder, KeyState};
use tower_key_failover_redis::{RedisSharing, Sharing, SharingState};

use crate::server::Server;

pub(crate) const SECRET: &str = "of-all-replicas-0123456789";
pub(crate) const KEYS: [&str; 3] = [
    "sk-canary-first-1",
    "sk-canary-second-2",
    "sk-canary-third-3",
];
pub(crate) const LABELS: [&str; 3] = ["label-canary-a", "label-canary-b", "label-canary-c"];

pub(crate) struct Replica {
    pub(crate) pool: Arc<KeyPool>,
    pub(crate) sharing: Sharing,
    task: JoinHandle<()>,
}

/// A pool of three keys.
pub(crate) fn builder() -> KeyPoolBuilder {
    let keys = LABELS.into_iter().zip(KEYS);
    keys.fold(KeyPool::builder(), |builder, (label, key)| {
        builder.labeled_key(label, key)
    })
}

/// A sharing with short timeouts and intervals.
pub(crate) fn fast(url: &str) -> RedisSharing {
    RedisSharing::new(url, "pool").secret(SECRET).faster(10)
}

/// Two replicas of a pool, which are connected.
pub(crate) async fn two_replicas(server: &Server) -> (Replica, Replica) {
    let url = server.url();
    (Replica::start(&url).await, Replica::start(&url).await)
}

/// The same with short timeouts and intervals.
pub(crate) async fn two_fast_replicas(server: &Server) -> (Replica, Replica) {
    let url = server.url();
    (Replica::fast(&url).await, Replica::fast(&url).await)
}

impl Replica {
    /// Starts a replica and waits until it is connected.
    pub(crate) async fn start(url: &str) -> Self {
        let replica = Self::unconnected(url, builder());
        replica.connected().await;
        replica
    }

    /// The same with short timeouts and intervals.
    pub(crate) async fn fast(url: &str) -> Self {
        let replica = Self::of(fast(url), builder());
        replica.connected().await;
        replica
    }

    pub(crate) fn unconnected(url: &str, builder: KeyPoolBuilder) -> Self {
        Self::of(RedisSharing::new(url, "pool").secret(SECRET), builder)
    }

    pub(crate) fn of(sharing: RedisSharing, builder: KeyPoolBuilder) -> Self {
        let pool = Arc::new(builder.build().unwrap());
        let (sharing, run) = sharing.share(Arc::clone(&pool)).unwrap();
        let task = tokio::spawn(run);
        Self {
            pool,
            sharing,
            task,
        }
    }

    pub(crate) async fn connected(&self) {
        self.reaches(SharingState::Connected).await;
    }

    pub(crate) async fn reaches(&self, state: SharingState) {
        until(|| self.sharing.status().state == state).await;
    }

    pub(crate) fn key(&self, at: usize) -> Key {
        self.pool.keys().nth(at).unwrap()
    }

    pub(crate) fn cool_down(&self, at: usize, seconds: u64) {
        self.key(at)
            .mark_temporary(Some(Duration::from_secs(seconds)));
    }

    pub(crate) fn state(&self, at: usize) -> KeyState {
        self.key(at).state()
    }

    pub(crate) fn suspicions(&self, at: usize) -> u32 {
        self.pool.snapshot().keys[at].suspicions
    }

    /// The scopes in which a key is marked, and for how many seconds.
    pub(crate) fn scopes(&self, at: usize) -> Vec<(String, u64)> {
        let marked = self.pool.snapshot().keys[at].scopes.clone().into_iter();
        let each = marked.map(|marked| match marked.state {
            KeyState::Temporary { retry_after } => {
                (marked.scope.to_string(), retry_after.as_secs())
            }
            state => panic!("{state:?}"),
        });
        each.collect()
    }

    /// How long a key cools down. Zero if it does not.
    pub(crate) fn cooldown(&self, at: usize) -> Duration {
        match self.state(at) {
            KeyState::Temporary { retry_after } => retry_after,
            _ => Duration::ZERO,
        }
    }

    /// Waits until a key cools down for about so many seconds: at most for so long, and for a few seconds
    /// less on a busy machine.
    pub(crate) async fn cools_down(&self, at: usize, seconds: u64) {
        let (least, most) = (seconds as f64 - 8.0, seconds as f64 + 0.3);
        until(|| (least..most).contains(&self.cooldown(at).as_secs_f64())).await;
    }

    /// Waits until everything is sent.
    pub(crate) async fn flushed(&self) {
        assert!(self.sharing.flush(Duration::from_secs(10)).await);
    }

    pub(crate) fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Polls a condition, which comes true within 30 seconds.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "the condition did not come true");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
