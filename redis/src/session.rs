//! One connection from its start to its end: pull, push what the server lacks, and listen.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::connection::{Connection, Failure, Server};
use crate::protocol::{Message, Version};
use crate::runner::Runner;
use crate::status::SharingState;
use crate::timing::{part_of, random_bits};

/// The number of records in a batch.
const BATCH: usize = 64;

/// When what is to be done next.
struct Agenda {
    batch_every: Duration,
    pull: Instant,
    /// Send what this replica changed.
    push: Option<Instant>,
    /// Send everything that the server lacks.
    restore: Option<Instant>,
    last_push: Option<Instant>,
    /// The last pull failed, so pushing would as well.
    is_refused: bool,
    /// The last push failed, although pulling works.
    is_push_refused: bool,
}

impl Agenda {
    fn push_soon(&mut self, now: Instant) {
        let next = self
            .last_push
            .map_or(now, |last| now.max(last + self.batch_every));
        self.push = Some(self.push.map_or(next, |push| push.min(next)));
    }

    fn pull_within(&mut self, time: Duration, now: Instant) {
        self.pull = self.pull.min(now + part_of(time));
    }

    fn restore_within(&mut self, time: Duration, now: Instant) {
        let at = now + part_of(time);
        self.restore = Some(self.restore.map_or(at, |restore| restore.min(at)));
    }

    fn next(&self) -> Instant {
        let pushes = [self.push, self.restore].into_iter().flatten();
        let pushes = pushes.filter(|_| !self.is_refused);
        pushes.fold(self.pull, Instant::min)
    }
}

impl Runner {
    /// Exchanges changes until the connection fails.
    pub(crate) async fn session(&mut self, mut connection: Connection) -> Failure {
        self.shared.subscribed(connection.is_subscribed);
        let now = Instant::now();
        let mut agenda = Agenda {
            batch_every: self.timing.batch_every,
            pull: now,
            push: None,
            restore: None,
            last_push: None,
            is_refused: true,
            is_push_refused: false,
        };
        loop {
            if let Err(failure) = self.keep_up(&mut connection, &mut agenda).await {
                return failure;
            }
            // Only now does the pool know which keys operators have disabled.
            self.shared.attempted(Ok(()));
            tokio::select! {
                message = connection.next_message() => match message {
                    Some(message) => self.receive(message, &mut agenda),
                    None => return Failure::Lost("the server closed the connection".into()),
                },
                () = self.pool.changed() => agenda.push_soon(Instant::now()),
                () = self.shared.flush_requested() => {
                    agenda.push = Some(Instant::now());
                    agenda.restore = agenda.push;
                }
                () = sleep_until(agenda.next()) => {}
            }
        }
    }

    /// Does what is due. Fails if the connection is lost.
    async fn keep_up(
        &mut self,
        connection: &mut Connection,
        agenda: &mut Agenda,
    ) -> Result<(), Failure> {
        let server = Arc::clone(&self.server);
        let now = Instant::now();
        if agenda.pull <= now {
            self.pull(&server, connection, agenda).await?;
        }
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= Instant::now());
        if !agenda.is_refused && (is_due(agenda.push) || is_due(agenda.restore)) {
            self.push(&server, connection, agenda).await?;
        }
        Ok(())
    }

    async fn pull(
        &mut self,
        server: &Server,
        connection: &mut Connection,
        agenda: &mut Agenda,
    ) -> Result<(), Failure> {
        if self.observe() {
            agenda.push_soon(Instant::now());
        }
        let known = self.version.clone();
        self.shared.commanded();
        let result = self.observing(server.pull(connection, &known)).await;
        let now = Instant::now();
        agenda.pull = now + self.timing.poll_interval();
        let pulled = match result {
            Ok(pulled) => pulled,
            Err(Failure::Refused(problem)) => {
                agenda.is_refused = true;
                let failure = Failure::Refused(problem);
                self.shared.failed(failure, SharingState::Refused);
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        agenda.is_refused = false;
        self.replica.set_clock(pulled.now, now);
        if let Some(records) = pulled.records {
            self.version = pulled.version;
            let actions = self.replica.pulled(records, now);
            self.apply(actions);
        }
        let has_pending = self.replica.pending(now) > 0;
        agenda.is_push_refused &= has_pending;
        if !agenda.is_push_refused {
            self.shared.connected();
        }
        if self.shared.flush_wanted().is_some() {
            agenda.restore = Some(now);
        } else if has_pending {
            agenda.push_soon(now);
            agenda.restore_within(self.timing.restore_within, now);
        }
        self.shared.waiting(&self.replica, now);
        Ok(())
    }

    async fn push(
        &mut self,
        server: &Server,
        connection: &mut Connection,
        agenda: &mut Agenda,
    ) -> Result<(), Failure> {
        let flush = self.shared.flush_wanted();
        if self.observe() {
            agenda.pull = Instant::now();
        }
        let now = Instant::now();
        let restores = agenda.restore.is_some_and(|restore| restore <= now);
        agenda.push = None;
        if restores {
            agenda.restore = None;
        }
        let pushes = self.replica.due(BATCH, !restores, now);
        if pushes.is_empty() {
            if restores {
                self.shared.flushed(flush);
            }
            return Ok(());
        }
        let is_full = pushes.len() == BATCH;
        agenda.last_push = Some(now);
        self.shared.commanded();
        let nonce = format!("{:016x}", random_bits());
        let result = self
            .observing(server.push(connection, &nonce, &pushes))
            .await;
        let now = Instant::now();
        let merged = match result {
            Ok(merged) => merged,
            Err(Failure::Refused(problem)) => {
                agenda.is_push_refused = true;
                self.shared.rejected(pushes.len());
                self.shared
                    .failed(Failure::Refused(problem), SharingState::Refused);
                // With the next poll at the latest.
                agenda.restore = Some(agenda.pull);
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        self.replica.set_clock(merged.now, now);
        for (push, winner) in pushes.iter().zip(merged.winners) {
            self.replica.settle(push);
            let actions = winner.and_then(|winner| self.replica.hear_winner(push, winner, now));
            self.apply(actions);
        }
        agenda.is_push_refused = false;
        self.shared.published(pushes.len());
        self.shared.connected();
        self.advance(merged.version, agenda, now);
        self.shared.waiting(&self.replica, now);
        if is_full || !self.replica.due(1, true, now).is_empty() {
            agenda.push_soon(now);
        }
        if restores {
            // Until nothing is due any more.
            let pause = flush.map_or(agenda.batch_every, |_| Duration::ZERO);
            agenda.restore = Some(now + pause);
        }
        Ok(())
    }

    /// Applies what another replica changed.
    fn receive(&mut self, message: Message, agenda: &mut Agenda) {
        let now = Instant::now();
        self.replica.set_clock(message.now, now);
        for told in message.records {
            let actions = self.replica.hear(told, now);
            self.apply(actions);
        }
        self.advance(message.version, agenda, now);
        if self.replica.pending(now) > 0 {
            // The other one knew less.
            agenda.restore_within(self.timing.restore_within, now);
        }
    }

    /// The server has this version now. If something in between is missing, a pull follows.
    fn advance(&mut self, version: Version, agenda: &mut Agenda, now: Instant) {
        if self.version.precedes(&version) {
            self.version = version;
        } else if !self.version.includes(&version) {
            agenda.pull_within(self.timing.gap_within, now);
        }
    }
}
