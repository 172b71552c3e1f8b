//! Waiting for a key to return, if the layer allows it.

use std::time::Duration;

use super::Exchange;
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

    /// Joins the wait queue if a key can return in time. All keys may then be tried again.
    pub(crate) fn join_queue(&mut self) -> Option<Waiter> {
        let left = self.wait_left().filter(|left| !left.is_zero())?;
        match self.pool().outlook(None, self.kept()) {
            Outlook::Hopeless => return None,
            Outlook::Closed { reopens, .. } if reopens > left => return None,
            Outlook::Closed { .. } | Outlook::Taken(_) => {}
        }
        if !self.has_attempts(1) {
            return None;
        }
        let waiter = self
            .pool()
            .join_queue(None, self.kept(), left.min(LONGEST))?;
        let refused = self.refused().len();
        let progress = self.progress.get_or_insert_default();
        progress.tried.begin_wait(refused);
        Some(waiter)
    }

    /// Takes a key for a waiter that has its turn, or says what to wait for.
    pub(crate) fn take_key_or_wait(&mut self) -> Found {
        let request = PickRequest {
            yields_to_waiters: false,
            ..self.pick_request(self.is_replayable_so_far())
        };
        let pick = self.pool().pick_or_wait(request, self.tried(), self.kept());
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
