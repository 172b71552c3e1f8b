//! Waiting for a key to return, if the layer allows it.

use std::time::Duration;

use super::Exchange;
use crate::failover::attempt::AttemptRecord;
use crate::failover::history::History;
use crate::failover::wait::{Found, LONGEST};
use crate::pool::{Outlook, PickRequest, Waiter};

impl<S, P, B> Exchange<S, P, B> {
    pub(super) fn may_still_wait(&self) -> bool {
        self.wait_left().is_some_and(|left| !left.is_zero())
    }

    /// How much longer the request may wait.
    pub(crate) fn wait_left(&self) -> Option<Duration> {
        let history = self.history.as_deref();
        let waited = history.map_or(Duration::ZERO, History::waited);
        Some(self.config.wait_for_key?.saturating_sub(waited))
    }

    /// Joins the wait queue if a key can return in time.
    pub(crate) fn join_queue(&mut self) -> Option<Waiter> {
        let left = self.wait_left().filter(|left| !left.is_zero())?;
        match self.pool().outlook(self.choice(), self.tried()) {
            Outlook::Hopeless => return None,
            Outlook::Closed { reopens, .. } if reopens > left => return None,
            Outlook::Closed { .. } | Outlook::Taken(_) => {}
        }
        if !self.has_attempts(1) {
            return None;
        }
        let request = self.pick_request(self.is_replayable_so_far());
        self.pool()
            .join_queue(request, self.tried(), left.min(LONGEST))
    }

    /// Takes a key for a waiter that has its turn, or says what to wait for.
    pub(crate) fn take_key_or_wait(&mut self) -> Found {
        let request = PickRequest {
            yields_to_waiters: false,
            ..self.pick_request(self.is_replayable_so_far())
        };
        let refused = self.refused().iter().map(AttemptRecord::key);
        // Keys that have not refused the request come first.
        let pick = match self.pool().pick(request, refused) {
            Some(pick) => Ok(pick),
            None => self.pool().pick_or_wait(request, self.tried()),
        };
        match pick {
            Ok(pick) => {
                self.use_key(pick);
                Found::Key
            }
            Err(outlook) => Found::Nothing(outlook),
        }
    }

    pub(crate) fn end_wait(&mut self, took: Duration) {
        self.history_mut().add_wait(took);
    }
}
