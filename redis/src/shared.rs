//! What the running future and the handle of a shared pool have in common.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::connection::Failure;
use crate::error::Error;
use crate::replica::Replica;
use crate::status::{SharingState, SharingStatus};

/// The target of all logs.
const TARGET: &str = "tower_key_failover_redis";

pub(crate) struct Shared {
    name: String,
    status: Mutex<Inner>,
    /// The result of the first attempt to connect.
    started: watch::Sender<Option<Result<(), Error>>>,
    flush_wanted: watch::Sender<u64>,
    flushed: watch::Sender<u64>,
}

struct Inner {
    status: SharingStatus,
    waiting_since: Option<Instant>,
    /// When the last outage began.
    failed_at: Option<Instant>,
    /// The flush that the running future knows of.
    flush_seen: u64,
}

impl Shared {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            status: Mutex::new(Inner {
                status: SharingStatus::new(),
                waiting_since: None,
                failed_at: None,
                flush_seen: 0,
            }),
            started: watch::Sender::new(None),
            flush_wanted: watch::Sender::new(0),
            flushed: watch::Sender::new(0),
        }
    }

    pub(crate) fn status(&self) -> SharingStatus {
        let inner = self.lock();
        SharingStatus {
            lag: inner.waiting_since.map_or(Duration::ZERO, |since| {
                Instant::now().saturating_duration_since(since)
            }),
            ..inner.status.clone()
        }
    }

    pub(crate) async fn started(&self) -> Result<(), Error> {
        let mut started = self.started.subscribe();
        let result = started.wait_for(Option::is_some).await;
        result.map_or(Ok(()), |result| result.clone().unwrap_or(Ok(())))
    }

    pub(crate) async fn flush(&self, within: Duration) -> bool {
        let mut wanted = 0;
        self.flush_wanted.send_modify(|number| {
            *number += 1;
            wanted = *number;
        });
        let mut flushed = self.flushed.subscribe();
        let done = flushed.wait_for(|number| *number >= wanted);
        matches!(timeout(within, done).await, Ok(Ok(number)) if *number != u64::MAX)
    }

    // What follows is called by the running future.

    pub(crate) fn attempted(&self, result: Result<(), Error>) {
        self.started.send_if_modified(|started| {
            let is_first = started.is_none();
            started.get_or_insert(result);
            is_first
        });
    }

    /// Waits until somebody wants a flush that has not been noticed yet.
    pub(crate) async fn flush_requested(&self) {
        let mut wanted = self.flush_wanted.subscribe();
        let seen = self.lock().flush_seen;
        if let Ok(number) = wanted.wait_for(|number| *number > seen).await {
            self.lock().flush_seen = *number;
        }
    }

    /// The flush that is wanted and not done, if there is one.
    pub(crate) fn flush_wanted(&self) -> Option<u64> {
        let (wanted, flushed) = (*self.flush_wanted.borrow(), *self.flushed.borrow());
        (wanted > flushed).then_some(wanted)
    }

    pub(crate) fn flushed(&self, number: Option<u64>) {
        if let Some(number) = number {
            self.flushed.send_replace(number);
        }
    }

    pub(crate) fn connected(&self) {
        let mut inner = self.lock();
        let failed_at = inner.failed_at.take();
        let before = std::mem::replace(&mut inner.status.state, SharingState::Connected);
        inner.status.problem = None;
        drop(inner);
        if let Some(failed_at) = failed_at {
            let seconds = Instant::now()
                .saturating_duration_since(failed_at)
                .as_secs();
            tracing::info!(target: TARGET, pool = self.name, seconds, "the pool is shared again");
        } else if before == SharingState::Connecting {
            tracing::info!(target: TARGET, pool = self.name, "the pool is shared");
        }
    }

    /// Something failed. Logs it, unless that has gone on for a while.
    pub(crate) fn failed(&self, failure: Failure, state: SharingState) {
        let is_not_redis = matches!(failure, Failure::NotRedis);
        let problem = match failure {
            Failure::Lost(problem) | Failure::Refused(problem) => problem,
            Failure::Moved(_) => "another node of the cluster serves the pool".into(),
            Failure::NotRedis => Error::NotRedis.to_string(),
        };
        let mut inner = self.lock();
        inner.status.outages += u64::from(state == SharingState::Disconnected);
        let before = std::mem::replace(&mut inner.status.state, state);
        inner.status.is_subscribed &= state != SharingState::Disconnected;
        inner.status.problem = Some(problem.clone());
        if is_not_redis && before == SharingState::Connecting {
            // `started` reports it. The next attempt logs it.
            return;
        }
        let is_first = inner.failed_at.is_none();
        inner.failed_at.get_or_insert_with(Instant::now);
        drop(inner);
        if is_first {
            let state = state.as_str();
            tracing::warn!(target: TARGET, pool = self.name,
                state,
                problem,
                "the pool is not shared now"
            );
        }
    }

    pub(crate) fn subscribed(&self, is_subscribed: bool) {
        self.lock().status.is_subscribed = is_subscribed;
    }

    pub(crate) fn waiting(&self, replica: &Replica, now: Instant) {
        let mut inner = self.lock();
        inner.status.pending = replica.pending(now);
        inner.waiting_since = replica.waiting_since(now);
    }

    pub(crate) fn commanded(&self) {
        self.lock().status.commands += 1;
    }

    pub(crate) fn published(&self, count: usize) {
        self.lock().status.published += count as u64;
    }

    pub(crate) fn rejected(&self, count: usize) {
        self.lock().status.rejected += count as u64;
    }

    pub(crate) fn applied(&self) {
        self.lock().status.applied += 1;
    }

    pub(crate) fn stopped(&self) {
        self.lock().status.state = SharingState::Stopped;
        self.attempted(Ok(()));
        self.flushed.send_replace(u64::MAX);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
