//! What this replica knows of all limits of its pool. Nothing here does any I/O.

mod action;
mod limit;
mod push;
mod scopes;
mod server_clock;

use std::collections::{HashMap, HashSet};

use tokio::time::Instant;

pub(crate) use self::action::{Action, Actions, LocalMark, LocalScope, LocalState};
use self::limit::{Limit, Part};
use self::push::Kind;
pub(crate) use self::push::Push;
use self::server_clock::ServerClock;
use crate::names::{Name, Names, Sealed};
use crate::record::{Record, Told};
use crate::register::Register;

pub(crate) struct Replica {
    names: Names,
    limits: Vec<Limit>,
    /// The position of each limit, by its name and by the name of its health.
    by_name: HashMap<Name, (usize, Named)>,
    clock: Option<ServerClock>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Limit,
    Health,
}

impl Replica {
    pub(crate) fn new(names: Names) -> Self {
        Self {
            names,
            limits: Vec::new(),
            by_name: HashMap::new(),
            clock: None,
        }
    }

    /// Sets the limits of the pool: the name of each, and that of its health. Limits that were there
    /// already keep their records.
    pub(crate) fn set_limits(&mut self, names: impl IntoIterator<Item = (Name, Option<Name>)>) {
        let mut old: HashMap<_, _> = std::mem::take(&mut self.limits)
            .into_iter()
            .map(|limit| (limit.opens.name, limit))
            .collect();
        self.by_name.clear();
        for (index, (name, health)) in names.into_iter().enumerate() {
            self.by_name.insert(name, (index, Named::Limit));
            if let Some(health) = health {
                self.by_name.insert(health, (index, Named::Health));
            }
            let known = old.remove(&name);
            self.limits
                .push(known.unwrap_or_else(|| Limit::new(name, health)));
        }
    }

    /// Takes note of the state of a limit of the pool, and of the scopes in which it is rate-limited.
    pub(crate) fn observe(
        &mut self,
        index: usize,
        local: LocalState,
        scopes: impl IntoIterator<Item = LocalScope>,
        now: Instant,
    ) {
        let limit = &mut self.limits[index];
        limit.observe(local, now);
        limit.scopes.remove_over(now);
        for limited in scopes {
            limit.observe_scope(limited, &self.names, now);
        }
        if let Some(clock) = self.clock {
            limit.assign_epochs(clock);
        }
    }

    /// The pool did what [`hear`](Self::hear) or [`pulled`](Self::pulled) asked for.
    pub(crate) fn adopted(&mut self, index: usize, local: LocalState) {
        self.limits[index].adopted(local);
    }

    /// The generation of a limit when it was last read.
    pub(crate) fn generation(&self, index: usize) -> u32 {
        self.limits[index].generation()
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
    pub(crate) fn hear(&mut self, told: Told, now: Instant) -> Option<Actions> {
        self.hear_record(told.name, told.sealed.as_ref(), told.record, now)
    }

    /// The server has this record, which is that of the push or outranks it.
    pub(crate) fn hear_winner(
        &mut self,
        push: &Push,
        winner: Record,
        now: Instant,
    ) -> Option<Actions> {
        self.hear_record(push.name, push.sealed.as_ref(), winner, now)
    }

    fn hear_record(
        &mut self,
        name: Name,
        sealed: Option<&Sealed>,
        record: Record,
        now: Instant,
    ) -> Option<Actions> {
        let clock = self.clock?;
        let (index, part) = self.find(name, sealed)?;
        let actions = self.limits[index].hear(part, record, &self.names, clock, now);
        (!actions.is_empty()).then_some((index, actions))
    }

    /// The server has these records and no others.
    pub(crate) fn pulled(
        &mut self,
        records: impl IntoIterator<Item = Told>,
        now: Instant,
    ) -> Vec<Actions> {
        let mut records: Vec<_> = records.into_iter().collect();
        let there: HashSet<_> = records.iter().map(|told| told.name).collect();
        for register in self.limits.iter_mut().flat_map(Limit::registers_mut) {
            if there.contains(&register.name) {
                register.unsettle();
            } else {
                register.forget_server();
            }
        }
        // An operator's act decides which marks of scopes still apply.
        records.sort_by_key(|told| told.sealed.is_some());
        let heard = records.into_iter();
        heard.filter_map(|told| self.hear(told, now)).collect()
    }

    /// What a record is about.
    fn find(&self, name: Name, sealed: Option<&Sealed>) -> Option<(usize, Part)> {
        let Some(sealed) = sealed else {
            let (index, named) = *self.by_name.get(&name)?;
            return match named {
                Named::Limit => Some((index, Part::Opens)),
                Named::Health => Some((index, Part::Health)),
            };
        };
        let (owner, scope) = self.names.open(name, sealed)?;
        let (index, named) = *self.by_name.get(&owner)?;
        (named == Named::Limit).then_some((index, Part::Scope(scope)))
    }

    /// At most `count` records that the server should have. If `fresh_only`, those that this replica
    /// changed since it last sent them, and not those that the server lost.
    pub(crate) fn due(&self, count: usize, fresh_only: bool, now: Instant) -> Vec<Push> {
        self.pending_registers(now)
            .filter(|(_, register)| !fresh_only || register.fresh.is_some())
            .take(count)
            .map(|(kind, register)| Push::of(register, kind, now))
            .collect()
    }

    /// The server answered a push.
    pub(crate) fn settle(&mut self, push: &Push) {
        if let Some((index, part)) = self.find(push.name, push.sealed.as_ref())
            && let Some(register) = self.limits[index].register(&part)
        {
            register.settle((push.epoch, push.end));
        }
    }

    /// How many records the server should have, but does not have yet.
    pub(crate) fn pending(&self, now: Instant) -> usize {
        self.pending_registers(now).count()
    }

    /// Since when the oldest change of this replica waits to be sent.
    pub(crate) fn waiting_since(&self, now: Instant) -> Option<Instant> {
        let pending = self.pending_registers(now);
        pending.filter_map(|(_, register)| register.fresh).min()
    }

    /// Whole limits first, because they concern more requests than their scopes.
    fn pending_registers(&self, now: Instant) -> impl Iterator<Item = (Kind<'_>, &Register)> {
        let whole = self.limits.iter().flat_map(Limit::registers);
        let scopes = self.limits.iter();
        let scopes = scopes.flat_map(move |limit| limit.scopes.kinds(now));
        let all = whole.chain(scopes);
        all.filter(move |(_, register)| register.is_due(now))
    }

    #[cfg(test)]
    pub(crate) fn known(&self, name: Name) -> Option<crate::record::Held> {
        let scopes = self.limits.iter().flat_map(|limit| limit.scopes.iter());
        let scopes = scopes.map(|(_, register)| register);
        let whole = self.limits.iter().flat_map(Limit::registers);
        let mut registers = whole.map(|(_, register)| register).chain(scopes);
        registers.find_map(|register| (register.name == name).then_some(register.mine))
    }
}

#[cfg(test)]
mod conflicts;
#[cfg(test)]
mod convergence;
