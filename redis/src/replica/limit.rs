//! What this replica knows of one limit of its pool.

use std::time::Duration;

use tokio::time::Instant;
use tower_key_failover::pool::{Reason, Scope};

use super::action::{Action, LocalMark, LocalScope, LocalState};
use super::push::Kind;
use super::scopes::Scopes;
use super::server_clock::ServerClock;
use crate::names::{Name, Names};
use crate::record::{End, Held, Record};
use crate::register::Register;

/// A mark that is so much newer than the act of an operator elsewhere is new evidence.
const CONFLICT: Duration = Duration::from_secs(5);

/// The records of one limit.
pub(super) struct Limit {
    /// When the limit can be used.
    pub(super) opens: Register,
    /// Whether the key works at all. A group has none.
    pub(super) health: Option<Register>,
    pub(super) scopes: Scopes,
    seen: Option<Seen>,
    /// The generation whose permanent mark was noticed.
    permanent_in: Option<u32>,
}

#[derive(Clone, Copy)]
struct Seen {
    generation: u32,
    acts: u32,
}

/// Which record of a limit.
pub(super) enum Part {
    Opens,
    Health,
    Scope(Scope),
}

impl Limit {
    pub(super) fn new(name: Name, health: Option<Name>) -> Self {
        Self {
            opens: Register::new(name),
            health: health.map(Register::new),
            scopes: Scopes::default(),
            seen: None,
            permanent_in: None,
        }
    }

    /// Takes note of the state of the limit in the pool.
    pub(super) fn observe(&mut self, local: LocalState, now: Instant) {
        let seen = self.seen.replace(Seen::of(local));
        let has_acted = seen.is_some_and(|seen| seen.acts != local.acts);
        let has_returned = seen.is_some_and(|seen| seen.generation != local.generation);
        if has_acted {
            self.acted(local.mark, now);
        } else if has_returned
            && self.permanent_in.take().is_some()
            && let Some(health) = &mut self.health
        {
            health.act(End::Open, Reason::Other, now);
        }
        self.marked(local, now);
    }

    /// Takes note of a scope in which the limit is rate-limited.
    pub(super) fn observe_scope(&mut self, limited: LocalScope, names: &Names, now: Instant) {
        let End::At(end) = End::after(limited.left, now) else {
            return;
        };
        let (owner, epoch) = (self.opens.name, self.opens.mine.epoch);
        let register = self.scopes.find_or_add(&limited.scope, end, owner, names);
        if let Some(register) = register
            && End::At(end).outlasts(register.mine.end, now)
        {
            register.mine.epoch = register.mine.epoch.max(epoch);
            register.mark(End::At(end), limited.reason, now);
        }
    }

    /// The pool did what other replicas asked for. None of it is an act of this replica.
    pub(super) fn adopted(&mut self, local: LocalState) {
        let acts = self.seen.map_or(local.acts, |seen| seen.acts);
        let generation = local.generation;
        if self.seen.is_some_and(|seen| seen.generation != generation) {
            self.permanent_in = None;
        }
        self.seen = Some(Seen { generation, acts });
    }

    /// The generation of the limit when it was last read.
    pub(super) fn generation(&self) -> u32 {
        self.seen.map_or(0, |seen| seen.generation)
    }

    /// An operator disabled or reinstated the limit.
    fn acted(&mut self, mark: LocalMark, now: Instant) {
        if mark == LocalMark::Disabled {
            self.opens.act(End::Never, Reason::Operator, now);
            return;
        }
        self.permanent_in = None;
        self.scopes.clear();
        self.opens.act(End::Open, Reason::Operator, now);
        if let Some(health) = &mut self.health {
            health.act(End::Open, Reason::Operator, now);
        }
    }

    /// The limit has this mark, which may be new.
    fn marked(&mut self, local: LocalState, now: Instant) {
        match local.mark {
            LocalMark::Open => {}
            LocalMark::CoolingDown(left) => {
                let end = End::after(left, now);
                if end.outlasts(self.opens.mine.end, now) {
                    self.opens.mark(end, local.reason, now);
                }
            }
            LocalMark::Disabled => {
                if self.opens.mine.end != End::Never {
                    self.opens.mark(End::Never, Reason::Operator, now);
                }
            }
            LocalMark::Permanent => {
                let Some(health) = &mut self.health else {
                    return;
                };
                if self.permanent_in.replace(local.generation) != Some(local.generation) {
                    if health.mine.end == End::Never {
                        health.marked = Some(now);
                    } else {
                        health.mark(End::Never, local.reason, now);
                    }
                }
            }
        }
    }

    /// The server has this record of a part of the limit.
    pub(super) fn hear(
        &mut self,
        part: Part,
        record: Record,
        names: &Names,
        clock: ServerClock,
        now: Instant,
    ) -> Vec<Action> {
        match part {
            Part::Opens => self.hear_opens(record, clock, now),
            Part::Health => self.hear_health(record, clock, now),
            Part::Scope(scope) => {
                let action = self.hear_scope(&scope, record, names, clock, now);
                action.into_iter().collect()
            }
        }
    }

    fn hear_opens(&mut self, record: Record, clock: ServerClock, now: Instant) -> Vec<Action> {
        let Some(heard) = self.opens.hear(record, clock.millis_at(now), now) else {
            return Vec::new();
        };
        let mine = self.opens.mine;
        let mut actions = Vec::new();
        if heard.epoch > mine.epoch && heard.end != End::Never {
            if mine.end != End::Never && self.is_marked_since(heard.epoch, clock) {
                self.opens.mine.epoch = heard.epoch;
                if !heard.end.outlasts(mine.end, now) {
                    return Vec::new();
                }
            } else {
                actions.push(Action::Reinstate);
                // Of its scopes, only those that were limited afterwards are closed.
                self.scopes.remove_before(heard.epoch);
                let closed = self.scopes.iter();
                actions.extend(closed.filter_map(|(scope, register)| {
                    in_scope(scope, register.mine, Duration::ZERO, now)
                }));
            }
        }
        match heard.end {
            End::Open => {}
            End::Never => actions.push(Action::Disable),
            End::At(end) => actions.push(Action::CoolDown {
                left: end.saturating_duration_since(now),
                reason: heard.reason,
            }),
        }
        self.opens.mine = heard;
        actions
    }

    fn hear_health(&mut self, record: Record, clock: ServerClock, now: Instant) -> Vec<Action> {
        let Some(health) = &mut self.health else {
            return Vec::new();
        };
        let Some(heard) = health.hear(record, clock.millis_at(now), now) else {
            return Vec::new();
        };
        let was_known = health.mine.epoch > 0 || health.mine.end == End::Never;
        health.mine = heard;
        match heard.end {
            End::Never if self.permanent_in.is_none() => vec![Action::Suspect {
                reason: heard.reason,
            }],
            End::Open if was_known && heard.reason != Reason::Operator => vec![Action::Probe],
            End::Open | End::At(_) | End::Never => Vec::new(),
        }
    }

    fn hear_scope(
        &mut self,
        scope: &Scope,
        record: Record,
        names: &Names,
        clock: ServerClock,
        now: Instant,
    ) -> Option<Action> {
        // An operator has reinstated the limit since then.
        if record.epoch < self.opens.mine.epoch {
            return None;
        }
        let (server_now, owner) = (clock.millis_at(now), self.opens.name);
        let register = match record.held(server_now, now).end {
            End::At(end) => self.scopes.find_or_add(scope, end, owner, names)?,
            End::Open => self.scopes.find(scope)?,
            // Only cooldowns have scopes.
            End::Never => return None,
        };
        register.mine = register.hear(record, server_now, now)?;
        let age = Duration::from_millis(server_now.saturating_sub(record.at));
        in_scope(scope, register.mine, age, now)
    }

    /// Whether this replica has marked the limit well after `epoch`.
    fn is_marked_since(&self, epoch: u64, clock: ServerClock) -> bool {
        let health = self.health.as_ref().and_then(|health| health.marked);
        self.opens.marked.max(health).is_some_and(|marked| {
            clock.millis_at(marked) > epoch.saturating_add(CONFLICT.as_millis() as u64)
        })
    }

    pub(super) fn assign_epochs(&mut self, clock: ServerClock) {
        if self.opens.assign_epoch(|act| clock.millis_at(act)) {
            self.scopes.raise_epochs(self.opens.mine.epoch);
        }
        if let Some(health) = &mut self.health {
            health.assign_epoch(|act| clock.millis_at(act));
        }
    }

    pub(super) fn register(&mut self, part: &Part) -> Option<&mut Register> {
        match part {
            Part::Opens => Some(&mut self.opens),
            Part::Health => self.health.as_mut(),
            Part::Scope(scope) => self.scopes.find(scope),
        }
    }

    pub(super) fn registers(&self) -> impl Iterator<Item = (Kind<'_>, &Register)> {
        let health = self.health.as_ref().map(|health| (Kind::Health, health));
        std::iter::once((Kind::Opens, &self.opens)).chain(health)
    }

    pub(super) fn registers_mut(&mut self) -> impl Iterator<Item = &mut Register> {
        let scopes = self.scopes.registers_mut();
        std::iter::once(&mut self.opens)
            .chain(&mut self.health)
            .chain(scopes)
    }
}

impl Seen {
    fn of(local: LocalState) -> Self {
        Self {
            generation: local.generation,
            acts: local.acts,
        }
    }
}

/// The action for a mark in a scope, which was made `age` ago.
fn in_scope(scope: &Scope, mark: Held, age: Duration, now: Instant) -> Option<Action> {
    let End::At(end) = mark.end.seen_at(now) else {
        return None;
    };
    Some(Action::CoolDownInScope {
        scope: scope.clone(),
        left: end.saturating_duration_since(now),
        age,
        reason: mark.reason,
    })
}
