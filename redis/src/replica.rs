//! What this replica knows of all limits of its pool. Nothing here does any I/O.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use tower_key_failover::pool::Reason;

use crate::names::Name;
use crate::record::{End, Record};
use crate::register::Register;

/// A mark that is so much newer than the act of an operator elsewhere is new evidence.
const CONFLICT: Duration = Duration::from_secs(5);

/// The records of one limit.
struct Limit {
    /// When the limit can be used.
    opens: Register,
    /// Whether the key works at all. A group has none.
    health: Option<Register>,
    seen: Option<Seen>,
    /// The generation whose permanent mark was noticed.
    permanent_in: Option<u32>,
}

#[derive(Clone, Copy)]
struct Seen {
    generation: u32,
    acts: u32,
}

/// The state of a limit in the pool of this replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalState {
    pub(crate) generation: u32,
    /// How often an operator disabled or reinstated the limit in this process.
    pub(crate) acts: u32,
    pub(crate) mark: LocalMark,
    pub(crate) reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LocalMark {
    Open,
    CoolingDown(Duration),
    Permanent,
    Disabled,
}

/// What to do with a limit of the pool, because of what other replicas said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    CoolDown {
        left: Duration,
        reason: Reason,
    },
    /// Another replica marked the key permanently.
    Suspect {
        reason: Reason,
    },
    /// A probe of another replica succeeded.
    Probe,
    Disable,
    Reinstate,
}

/// The actions for one limit, in order.
pub(crate) type Actions = (usize, Vec<Action>);

/// A record to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Push {
    pub(crate) name: Name,
    pub(crate) epoch: u64,
    end: End,
    /// Milliseconds. -1 if it lasts until an operator or a probe ends it.
    pub(crate) left: i64,
    /// Milliseconds since the mark was made.
    pub(crate) age: u64,
    pub(crate) kind: &'static str,
    pub(crate) reason: Reason,
}

#[derive(Clone, Copy)]
enum Aspect {
    Opens,
    Health,
}

/// What the server's clock showed.
#[derive(Clone, Copy, Debug)]
struct ServerClock {
    millis: u64,
    at: Instant,
}

#[derive(Default)]
pub(crate) struct Replica {
    limits: Vec<Limit>,
    by_name: HashMap<Name, (usize, Aspect)>,
    clock: Option<ServerClock>,
}

impl Replica {
    /// Sets the limits of the pool: the name of each, and that of its health. Limits that were there
    /// already keep their records.
    pub(crate) fn set_limits(&mut self, names: impl IntoIterator<Item = (Name, Option<Name>)>) {
        let mut old: HashMap<_, _> = std::mem::take(&mut self.limits)
            .into_iter()
            .map(|limit| (limit.opens.name, limit))
            .collect();
        self.by_name.clear();
        for (index, (name, health)) in names.into_iter().enumerate() {
            self.by_name.insert(name, (index, Aspect::Opens));
            if let Some(health) = health {
                self.by_name.insert(health, (index, Aspect::Health));
            }
            self.limits.push(old.remove(&name).unwrap_or_else(|| Limit {
                opens: Register::new(name),
                health: health.map(Register::new),
                seen: None,
                permanent_in: None,
            }));
        }
    }

    /// Takes note of the state of a limit of the pool.
    pub(crate) fn observe(&mut self, index: usize, local: LocalState, now: Instant) {
        let limit = &mut self.limits[index];
        let seen = limit.seen.replace(Seen::of(local));
        let has_acted = seen.is_some_and(|seen| seen.acts != local.acts);
        let has_returned = seen.is_some_and(|seen| seen.generation != local.generation);
        if has_acted {
            limit.acted(local.mark, now);
        } else if has_returned
            && limit.permanent_in.take().is_some()
            && let Some(health) = &mut limit.health
        {
            health.act(End::Open, Reason::Other, now);
        }
        limit.marked(local, now);
        if let Some(clock) = self.clock {
            limit.assign_epochs(clock);
        }
    }

    /// The pool did what [`hear`](Self::hear) or [`pulled`](Self::pulled) asked for. None of it is an
    /// act of this replica.
    pub(crate) fn acted(&mut self, index: usize, local: LocalState) {
        let limit = &mut self.limits[index];
        let acts = limit.seen.map_or(local.acts, |seen| seen.acts);
        let generation = local.generation;
        if limit.seen.is_some_and(|seen| seen.generation != generation) {
            limit.permanent_in = None;
        }
        limit.seen = Some(Seen { generation, acts });
    }

    /// The generation of a limit when it was last read.
    pub(crate) fn generation(&self, index: usize) -> u32 {
        self.limits[index].seen.map_or(0, |seen| seen.generation)
    }

    /// The server's clock shows `millis`. Acts of this replica get their epochs.
    pub(crate) fn set_clock(&mut self, millis: u64, now: Instant) {
        let clock = ServerClock { millis, at: now };
        self.clock = Some(clock);
        self.limits
            .iter_mut()
            .for_each(|limit| limit.assign_epochs(clock));
    }

    /// The connection is lost. The next server may have another clock.
    pub(crate) fn forget_clock(&mut self) {
        self.clock = None;
    }

    /// The server has this record now.
    pub(crate) fn hear(&mut self, name: Name, record: Record, now: Instant) -> Option<Actions> {
        let clock = self.clock?;
        let (index, aspect) = *self.by_name.get(&name)?;
        let limit = &mut self.limits[index];
        let actions = match aspect {
            Aspect::Opens => limit.hear_opens(record, clock, now),
            Aspect::Health => limit.hear_health(record, clock, now),
        };
        (!actions.is_empty()).then_some((index, actions))
    }

    /// The server has these records and no others.
    pub(crate) fn pulled(
        &mut self,
        records: impl IntoIterator<Item = (Name, Record)>,
        now: Instant,
    ) -> Vec<Actions> {
        let records: Vec<_> = records.into_iter().collect();
        let there: std::collections::HashSet<_> = records.iter().map(|(name, _)| *name).collect();
        for register in self.registers_mut() {
            if there.contains(&register.name) {
                register.unsettle();
            } else {
                register.forget_server();
            }
        }
        records
            .into_iter()
            .filter_map(|(name, record)| self.hear(name, record, now))
            .collect()
    }

    /// At most `count` records that the server should have. If `fresh_only`, those that this replica
    /// changed since it last sent them, and not those that the server lost.
    pub(crate) fn due(&self, count: usize, fresh_only: bool, now: Instant) -> Vec<Push> {
        self.registers()
            .filter(|(_, register)| register.is_due(now))
            .filter(|(_, register)| !fresh_only || register.fresh.is_some())
            .take(count)
            .map(|(aspect, register)| Push::of(register, aspect, now))
            .collect()
    }

    /// The server answered a push.
    pub(crate) fn settle(&mut self, push: &Push) {
        if let Some((index, aspect)) = self.by_name.get(&push.name)
            && let Some(register) = self.limits[*index].register(*aspect)
        {
            register.settle((push.epoch, push.end));
        }
    }

    /// How many records the server should have, but does not have yet.
    pub(crate) fn pending(&self, now: Instant) -> usize {
        self.registers()
            .filter(|(_, register)| register.is_due(now))
            .count()
    }

    /// Since when the oldest change of this replica waits to be sent.
    pub(crate) fn waiting_since(&self, now: Instant) -> Option<Instant> {
        self.registers()
            .filter(|(_, register)| register.is_due(now))
            .filter_map(|(_, register)| register.fresh)
            .min()
    }

    fn registers(&self) -> impl Iterator<Item = (Aspect, &Register)> {
        self.limits.iter().flat_map(|limit| {
            let health = limit.health.as_ref().map(|health| (Aspect::Health, health));
            std::iter::once((Aspect::Opens, &limit.opens)).chain(health)
        })
    }

    fn registers_mut(&mut self) -> impl Iterator<Item = &mut Register> {
        self.limits
            .iter_mut()
            .flat_map(|limit| std::iter::once(&mut limit.opens).chain(&mut limit.health))
    }

    #[cfg(test)]
    pub(crate) fn known(&self, name: Name) -> Option<crate::record::Held> {
        let mut registers = self.registers();
        registers.find_map(|(_, register)| (register.name == name).then_some(register.mine))
    }
}

impl Limit {
    /// An operator disabled or reinstated the limit.
    fn acted(&mut self, mark: LocalMark, now: Instant) {
        if mark == LocalMark::Disabled {
            self.opens.act(End::Never, Reason::Operator, now);
            return;
        }
        self.permanent_in = None;
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

    /// Whether this replica has marked the limit well after `epoch`.
    fn is_marked_since(&self, epoch: u64, clock: ServerClock) -> bool {
        let health = self.health.as_ref().and_then(|health| health.marked);
        self.opens.marked.max(health).is_some_and(|marked| {
            clock.millis_at(marked) > epoch.saturating_add(CONFLICT.as_millis() as u64)
        })
    }

    fn assign_epochs(&mut self, clock: ServerClock) {
        self.opens.assign_epoch(|act| clock.millis_at(act));
        if let Some(health) = &mut self.health {
            health.assign_epoch(|act| clock.millis_at(act));
        }
    }

    fn register(&mut self, aspect: Aspect) -> Option<&mut Register> {
        match aspect {
            Aspect::Opens => Some(&mut self.opens),
            Aspect::Health => self.health.as_mut(),
        }
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

impl Push {
    fn of(register: &Register, aspect: Aspect, now: Instant) -> Self {
        let mine = register.mine;
        let (left, kind) = match (mine.end.seen_at(now), aspect) {
            (End::Open, _) => (0, "o"),
            (End::At(end), _) => (millis(end.saturating_duration_since(now)).max(1), "c"),
            (End::Never, Aspect::Opens) => (-1, "d"),
            (End::Never, Aspect::Health) => (-1, "p"),
        };
        let age = register.marked.map_or(0, |marked| {
            millis(now.saturating_duration_since(marked)).unsigned_abs()
        });
        Self {
            name: register.name,
            epoch: mine.epoch,
            end: mine.end,
            left,
            age,
            kind,
            reason: mine.reason,
        }
    }
}

impl ServerClock {
    /// What the server's clock shows or showed at `instant`.
    fn millis_at(self, instant: Instant) -> u64 {
        let later = instant.saturating_duration_since(self.at).as_millis() as u64;
        let earlier = self.at.saturating_duration_since(instant).as_millis() as u64;
        self.millis.saturating_add(later).saturating_sub(earlier)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod conflicts;
#[cfg(test)]
mod convergence;
