//! A pool, as far as its replica sees it.

use std::collections::HashMap;

use tokio::time::Instant;
use tower_key_failover::pool::{Reason, Scope};

use crate::replica::{Action, LocalMark, LocalScope, LocalState};

/// What the pool of a replica does.
#[derive(Default)]
pub(super) struct Local {
    pub(super) generation: u32,
    pub(super) acts: u32,
    pub(super) until: Option<Instant>,
    pub(super) is_permanent: bool,
    pub(super) is_disabled: bool,
    pub(super) suspicions: u32,
    pub(super) scopes: HashMap<Scope, Instant>,
}

impl Local {
    pub(super) fn state(&self, now: Instant) -> LocalState {
        let left = |until: Instant| until.saturating_duration_since(now);
        let cooldown = self.until.map(left).filter(|left| !left.is_zero());
        let (mark, reason) = match cooldown {
            _ if self.is_disabled => (LocalMark::Disabled, Reason::Operator),
            _ if self.is_permanent => (LocalMark::Permanent, Reason::Unauthorized),
            Some(left) => (LocalMark::CoolingDown(left), Reason::RateLimited),
            None => (LocalMark::Open, Reason::Other),
        };
        LocalState {
            generation: self.generation,
            acts: self.acts,
            mark,
            reason,
        }
    }

    pub(super) fn scopes(&self, now: Instant) -> Vec<LocalScope> {
        let closed = self.scopes.iter().filter(|(_, end)| **end > now);
        let closed = closed.map(|(scope, end)| LocalScope {
            scope: scope.clone(),
            left: *end - now,
            reason: Reason::RateLimited,
        });
        closed.collect()
    }

    pub(super) fn cool_down_in(&mut self, scope: Scope, end: Instant) {
        let known = self.scopes.entry(scope).or_insert(end);
        *known = end.max(*known);
    }

    pub(super) fn reinstate(&mut self) {
        self.open();
        self.scopes.clear();
    }

    pub(super) fn open(&mut self) {
        self.generation += 1;
        (self.until, self.is_permanent, self.is_disabled) = (None, false, false);
    }

    pub(super) fn apply(&mut self, action: Action, now: Instant) {
        match action {
            Action::CoolDown { left, .. } => self.until = self.until.max(Some(now + left)),
            Action::Suspect { .. } => self.suspicions += 1,
            Action::Probe => {}
            Action::Disable => self.is_disabled = true,
            Action::Reinstate => self.reinstate(),
            Action::CoolDownInScope { scope, left, .. } => self.cool_down_in(scope, now + left),
        }
    }
}
