//! Replicas of one key, their server, and the messages between them.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use secrecy::SecretString;
use tokio::time::Instant;
use tower_key_failover::pool::Scope;

use super::local::Local;
use super::server::Server;
use crate::names::{Name, Names, Subject};
use crate::record::Told;
use crate::replica::{Actions, Replica};

pub(super) const REPLICAS: usize = 4;
pub(super) const SCOPES: usize = 2;

pub(super) fn scope_at(scope: usize) -> Scope {
    Scope::new(["gpt-4o", "gpt-4o-mini"][scope]).unwrap()
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    CoolDown {
        replica: usize,
        millis: u64,
    },
    CoolDownInScope {
        replica: usize,
        scope: usize,
        millis: u64,
    },
    SucceedInScope {
        replica: usize,
        scope: usize,
    },
    MarkPermanently(usize),
    ProbeSucceeds(usize),
    Disable(usize),
    Reinstate(usize),
    /// The replica sends what is due. The answer or the messages to others can be lost.
    Push {
        replica: usize,
        answer_is_lost: bool,
    },
    Deliver(usize),
    Repeat(usize),
    Lose(usize),
    /// The server restarts without its data.
    Wipe,
    Wait {
        millis: u64,
    },
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let replica = 0..REPLICAS;
    let step = prop_oneof![
        4 => (replica.clone(), 1..20_000_u64)
            .prop_map(|(replica, millis)| Step::CoolDown { replica, millis }),
        4 => (replica.clone(), 0..SCOPES, 1..20_000_u64)
            .prop_map(|(replica, scope, millis)| Step::CoolDownInScope { replica, scope, millis }),
        1 => (replica.clone(), 0..SCOPES)
            .prop_map(|(replica, scope)| Step::SucceedInScope { replica, scope }),
        1 => replica.clone().prop_map(Step::MarkPermanently),
        1 => replica.clone().prop_map(Step::ProbeSucceeds),
        1 => replica.clone().prop_map(Step::Disable),
        1 => replica.clone().prop_map(Step::Reinstate),
        6 => (replica, any::<bool>())
            .prop_map(|(replica, answer_is_lost)| Step::Push { replica, answer_is_lost }),
        6 => any::<usize>().prop_map(Step::Deliver),
        2 => any::<usize>().prop_map(Step::Repeat),
        2 => any::<usize>().prop_map(Step::Lose),
        1 => Just(Step::Wipe),
        3 => (1..8_000_u64).prop_map(|millis| Step::Wait { millis }),
    ];
    proptest::collection::vec(step, 1..60)
}

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) server: Server,
    pub(super) replicas: Vec<(Replica, Local)>,
    /// To whom, and what.
    pub(super) messages: Vec<(usize, Told)>,
    pub(super) opens: Name,
    pub(super) health: Name,
    pub(super) scopes: [Name; SCOPES],
}

impl World {
    pub(super) fn new() -> Self {
        let names = Names::new(&SecretString::from("0123456789abcdef"), "pool");
        let opens = names.name(Subject::Key("key"));
        let health = names.name(Subject::Health("key"));
        let now = Instant::now();
        let replicas = (0..REPLICAS).map(|_| {
            let (mut replica, local) = (Replica::new(names.clone()), Local::default());
            replica.set_limits([(opens, Some(health))]);
            replica.observe(0, local.state(now), local.scopes(now), now);
            (replica, local)
        });
        Self {
            now,
            server: Server {
                start: now,
                records: HashMap::new(),
            },
            replicas: replicas.collect(),
            messages: Vec::new(),
            opens,
            health,
            scopes: std::array::from_fn(|scope| names.seal(opens, &scope_at(scope)).0),
        }
    }

    pub(super) fn local(&mut self, replica: usize, change: impl FnOnce(&mut Local)) {
        let now = self.now;
        let (replica, local) = &mut self.replicas[replica];
        change(local);
        replica.observe(0, local.state(now), local.scopes(now), now);
    }

    pub(super) fn act(&mut self, replica: usize, actions: impl IntoIterator<Item = Actions>) {
        let now = self.now;
        let (replica, local) = &mut self.replicas[replica];
        for (index, actions) in actions {
            actions
                .into_iter()
                .for_each(|action| local.apply(action, now));
            replica.adopted(index, local.state(now));
        }
    }

    pub(super) fn step(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::CoolDown { replica, millis } => self.local(replica, |local| {
                if !local.is_permanent && !local.is_disabled {
                    let until = now + Duration::from_millis(millis);
                    local.until = local.until.max(Some(until));
                }
            }),
            Step::CoolDownInScope {
                replica,
                scope,
                millis,
            } => self.local(replica, |local| {
                local.cool_down_in(scope_at(scope), now + Duration::from_millis(millis));
            }),
            Step::SucceedInScope { replica, scope } => self.local(replica, |local| {
                local.scopes.remove(&scope_at(scope));
            }),
            Step::MarkPermanently(replica) => self.local(replica, |local| {
                local.is_permanent |= !local.is_disabled;
            }),
            Step::ProbeSucceeds(replica) => self.local(replica, |local| {
                if local.is_permanent && !local.is_disabled {
                    local.open();
                }
            }),
            Step::Disable(replica) => self.local(replica, |local| {
                local.is_disabled = true;
                local.acts += 1;
            }),
            Step::Reinstate(replica) => self.local(replica, |local| {
                local.reinstate();
                local.acts += 1;
            }),
            Step::Push {
                replica,
                answer_is_lost,
            } => self.push(replica, answer_is_lost),
            Step::Deliver(at) => {
                if let Some(message) = self.take(at) {
                    self.deliver(message);
                }
            }
            Step::Repeat(at) => {
                if let Some(message) = self.take(at) {
                    self.deliver(message.clone());
                    self.messages.push(message);
                }
            }
            Step::Lose(at) => drop(self.take(at)),
            Step::Wipe => self.server.records.clear(),
            Step::Wait { millis } => self.now += Duration::from_millis(millis),
        }
    }

    pub(super) fn take(&mut self, at: usize) -> Option<(usize, Told)> {
        let count = self.messages.len();
        (count > 0).then(|| self.messages.swap_remove(at % count))
    }

    pub(super) fn deliver(&mut self, (to, told): (usize, Told)) {
        let server_now = self.server.millis(self.now);
        let replica = &mut self.replicas[to].0;
        replica.set_clock(server_now, self.now);
        let actions = replica.hear(told, self.now);
        self.act(to, actions);
    }

    pub(super) fn push(&mut self, from: usize, answer_is_lost: bool) {
        let now = self.now;
        let server_now = self.server.millis(now);
        let replica = &mut self.replicas[from].0;
        replica.set_clock(server_now, now);
        for push in replica.due(64, false, now) {
            let (winner, is_new) = self.server.merge(&push, now);
            if is_new {
                let told = &self.server.records[&push.name];
                self.messages
                    .extend((0..REPLICAS).map(|to| (to, told.clone())));
            }
            if !answer_is_lost {
                let replica = &mut self.replicas[from].0;
                replica.settle(&push);
                let actions = replica.hear_winner(&push, winner, now);
                self.act(from, actions);
            }
        }
    }

    /// Every replica connects, pulls, and sends what the server lacks, until all is quiet.
    pub(super) fn settle(&mut self) {
        self.messages.clear();
        for _ in 0..3 {
            for replica in 0..REPLICAS {
                let (now, server_now) = (self.now, self.server.millis(self.now));
                let records: Vec<_> = self.server.records.values().cloned().collect();
                self.replicas[replica].0.set_clock(server_now, now);
                let actions = self.replicas[replica].0.pulled(records, now);
                self.act(replica, actions);
                self.push(replica, false);
                while let Some(message) = self.take(0) {
                    self.deliver(message);
                }
            }
        }
    }
}
