//! The pool of this replica.

use std::sync::Arc;

use tower_key_failover::KeyPool;
use tower_key_failover::pool::Reason;
use tower_key_failover::pool::peer::{
    Heard, LimitMark, LimitOwner, LimitState, LimitedScope, PeerPool,
};

use crate::names::{Name, Names, Subject};
use crate::replica::{Action, LocalMark, LocalScope, LocalState};

pub(crate) struct LocalPool(PeerPool);

impl LocalPool {
    pub(crate) fn new(pool: Arc<KeyPool>) -> Self {
        Self(PeerPool::new(pool))
    }

    /// Adopts the current list of keys. Returns whether it changed.
    pub(crate) fn refresh(&mut self) -> bool {
        self.0.refresh()
    }

    /// Waits for a change of the pool.
    pub(crate) async fn changed(&mut self) {
        self.0.changed().await;
    }

    /// The name of each limit, and that of its health.
    pub(crate) fn names(&self, names: &Names) -> Vec<(Name, Option<Name>)> {
        let limits = self.0.limits();
        let limits = limits.map(|limit| match limit.owner() {
            LimitOwner::Key(key) => {
                let health = names.name(Subject::Health(key));
                (names.name(Subject::Key(key)), Some(health))
            }
            LimitOwner::Group(group) => (names.name(Subject::Group(group)), None),
            _ => unreachable!("the limits of a pool belong to keys and groups"),
        });
        limits.collect()
    }

    /// The state of each limit, and the scopes in which it is rate-limited.
    pub(crate) fn states(&self) -> impl Iterator<Item = (LocalState, Vec<LocalScope>)> {
        self.0.limits().map(|limit| {
            // Scopes are read last, so they are not from before an operator's act that was noticed.
            let state = local_state(limit.state());
            let scopes = limit.limited_scopes().into_iter();
            (state, scopes.map(local_scope).collect())
        })
    }

    pub(crate) fn state(&self, index: usize) -> LocalState {
        local_state(self.0.limit(index).state())
    }

    /// Does what other replicas ask for. `generation` is that of the limit when they did.
    pub(crate) fn apply(&self, index: usize, mut generation: u32, actions: &[Action]) {
        let limit = self.0.limit(index);
        for action in actions {
            let heard = match action {
                Action::CoolDown { left, reason } => Heard::CoolingDown {
                    remaining: *left,
                    reason: *reason,
                },
                Action::CoolDownInScope {
                    scope,
                    left,
                    age,
                    reason,
                } => Heard::ScopeCoolingDown {
                    scope: scope.clone(),
                    remaining: *left,
                    age: *age,
                    reason: *reason,
                },
                Action::Suspect { reason } => Heard::Refused { reason: *reason },
                Action::Probe => Heard::Works,
                Action::Disable => Heard::Disabled,
                Action::Reinstate => Heard::Reinstated,
            };
            limit.hear(generation, heard);
            if *action == Action::Reinstate {
                generation = limit.state().generation;
            }
        }
    }
}

fn local_scope(limited: LimitedScope) -> LocalScope {
    LocalScope {
        scope: limited.scope,
        left: limited.remaining,
        reason: limited.reason,
    }
}

fn local_state(state: LimitState) -> LocalState {
    LocalState {
        generation: state.generation,
        acts: state.operator_acts,
        mark: match state.mark {
            LimitMark::CoolingDown { remaining } => LocalMark::CoolingDown(remaining),
            LimitMark::Permanent => LocalMark::Permanent,
            LimitMark::Disabled => LocalMark::Disabled,
            _ => LocalMark::Open,
        },
        reason: state.reason.unwrap_or(Reason::Other),
    }
}
