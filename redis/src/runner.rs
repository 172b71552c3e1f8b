//! Connects a pool to its replicas, again and again.

use std::pin::pin;
use std::sync::Arc;

use tokio::time::{Instant, sleep};

use crate::connection::{Failure, Server};
use crate::error::Error;
use crate::local::LocalPool;
use crate::names::Names;
use crate::protocol::Version;
use crate::redirect::Route;
use crate::replica::{Actions, Replica};
use crate::shared::Shared;
use crate::status::SharingState;
use crate::timing::{Timing, jittered};

/// What one replica needs to share its pool.
pub(crate) struct Runner {
    pub(crate) server: Arc<Server>,
    pub(crate) pool: LocalPool,
    pub(crate) names: Names,
    pub(crate) replica: Replica,
    pub(crate) version: Version,
    pub(crate) route: Route,
    pub(crate) shared: Arc<Shared>,
    pub(crate) timing: Timing,
}

impl Runner {
    pub(crate) async fn run(mut self) {
        let _stopped = Stopped(Arc::clone(&self.shared));
        self.adopt_limits();
        self.observe();
        let mut retry = self.timing.first_retry;
        loop {
            let server = Arc::clone(&self.server);
            let start = Instant::now();
            let redirect = self.route.redirect().cloned();
            let result = self.observing(server.connect(redirect.as_ref())).await;
            let failure = match result {
                Ok(connection) => {
                    retry = self.timing.first_retry;
                    self.session(connection).await
                }
                Err(failure) => failure,
            };
            self.replica.forget_clock();
            if Instant::now() >= start + self.timing.poll_after {
                self.route.arrived();
            }
            let Some(failure) = self.route.after(failure) else {
                continue;
            };
            let started = match failure {
                Failure::NotRedis => Err(Error::NotRedis),
                _ => Ok(()),
            };
            self.shared.failed(failure, SharingState::Disconnected);
            self.shared.attempted(started);
            self.observing(sleep(jittered(retry))).await;
            retry = (retry * 2).min(self.timing.last_retry);
        }
    }

    /// Waits for `future`, and takes note of changes of the pool in the meantime: the time of an
    /// operator's act decides which act is the last one.
    pub(crate) async fn observing<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            tokio::select! {
                output = &mut future => return output,
                () = self.pool.changed() => {
                    self.observe();
                }
            }
        }
    }

    /// Takes note of all changes of the pool. Returns whether its list of keys changed.
    pub(crate) fn observe(&mut self) -> bool {
        let is_new_list = self.pool.refresh();
        if is_new_list {
            self.adopt_limits();
        }
        let now = Instant::now();
        for (index, (state, scopes)) in self.pool.states().enumerate() {
            self.replica.observe(index, state, scopes, now);
        }
        self.shared.waiting(&self.replica, now);
        is_new_list
    }

    fn adopt_limits(&mut self) {
        self.replica.set_limits(self.pool.names(&self.names));
        // The server may know something about the new keys.
        self.version = Version::default();
    }

    /// Does to the pool what other replicas ask for.
    pub(crate) fn apply(&mut self, actions: impl IntoIterator<Item = Actions>) {
        for (index, actions) in actions {
            let generation = self.replica.generation(index);
            self.pool.apply(index, generation, &actions);
            self.replica.adopted(index, self.pool.state(index));
            self.shared.applied();
        }
    }
}

/// Says so when the future that shares the pool is dropped.
struct Stopped(Arc<Shared>);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.stopped();
    }
}
