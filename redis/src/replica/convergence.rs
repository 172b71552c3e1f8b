//! Replicas agree in the end, whatever happens to their messages.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;
use secrecy::SecretString;
use tokio::time::Instant;
use tower_key_failover::pool::Reason;

use super::{Action, Actions, LocalMark, LocalState, Push, Replica};
use crate::names::{Name, Names, Subject};
use crate::record::{End, Record, SLACK};

const REPLICAS: usize = 4;
const FOREVER: u64 = (1 << 53) - 1;

#[derive(Clone, Debug)]
enum Step {
    CoolDown {
        replica: usize,
        millis: u64,
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

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let replica = 0..REPLICAS;
    let step = prop_oneof![
        4 => (replica.clone(), 1..20_000_u64)
            .prop_map(|(replica, millis)| Step::CoolDown { replica, millis }),
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

/// What the pool of a replica does.
#[derive(Default)]
struct Local {
    generation: u32,
    acts: u32,
    until: Option<Instant>,
    is_permanent: bool,
    is_disabled: bool,
    suspicions: u32,
}

impl Local {
    fn state(&self, now: Instant) -> LocalState {
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

    fn open(&mut self) {
        self.generation += 1;
        (self.until, self.is_permanent, self.is_disabled) = (None, false, false);
    }

    fn apply(&mut self, action: Action, now: Instant) {
        match action {
            Action::CoolDown { left, .. } => self.until = self.until.max(Some(now + left)),
            Action::Suspect { .. } => self.suspicions += 1,
            Action::Probe => {}
            Action::Disable => self.is_disabled = true,
            Action::Reinstate => self.open(),
        }
    }
}

/// The scripts in Rust.
struct Server {
    start: Instant,
    records: HashMap<Name, Record>,
}

impl Server {
    fn millis(&self, now: Instant) -> u64 {
        1_763_740_000_000 + (now - self.start).as_millis() as u64
    }

    /// Returns the winner, and whether that is news.
    fn merge(&mut self, push: &Push, now: Instant) -> (Record, bool) {
        let at = self.millis(now);
        let old = self.records.get(&push.name).copied();
        let old_epoch = old.map_or(0, |old| old.epoch);
        let old_until = old.map_or(0, |old| old.until);
        let old_until = if old_until <= at { 0 } else { old_until };
        let is_mark = matches!(push.kind, "c" | "p");
        let mut epoch = push.epoch;
        if epoch < old_epoch && is_mark && at - push.age > old_epoch + 5_000 {
            epoch = old_epoch;
        }
        let until = match push.left {
            0 => 0,
            ..0 => FOREVER,
            left => at + left as u64,
        };
        let extends = match (until, old_until) {
            (FOREVER, _) | (_, FOREVER | 0) => until > old_until,
            _ => until >= old_until + SLACK.as_millis() as u64,
        };
        if epoch > old_epoch || epoch == old_epoch && extends {
            let reason = push.reason;
            let record = Record {
                epoch,
                until,
                at,
                reason,
            };
            self.records.insert(push.name, record);
            return (record, true);
        }
        let nothing = Record {
            epoch: 0,
            until: 0,
            at: 0,
            reason: Reason::Other,
        };
        (old.unwrap_or(nothing), false)
    }
}

struct World {
    now: Instant,
    server: Server,
    replicas: Vec<(Replica, Local)>,
    messages: Vec<(usize, Name, Record, u64)>,
    opens: Name,
    health: Name,
}

impl World {
    fn new() -> Self {
        let names = Names::new(&SecretString::from("0123456789abcdef"), "pool");
        let opens = names.name(Subject::Key("key"), None);
        let health = names.name(Subject::Health("key"), None);
        let now = Instant::now();
        let replicas = (0..REPLICAS).map(|_| {
            let (mut replica, local) = (Replica::default(), Local::default());
            replica.set_limits([(opens, Some(health))]);
            replica.observe(0, local.state(now), now);
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
        }
    }

    fn local(&mut self, replica: usize, change: impl FnOnce(&mut Local)) {
        let now = self.now;
        let (replica, local) = &mut self.replicas[replica];
        change(local);
        replica.observe(0, local.state(now), now);
    }

    fn act(&mut self, replica: usize, actions: impl IntoIterator<Item = Actions>) {
        let now = self.now;
        let (replica, local) = &mut self.replicas[replica];
        for (index, actions) in actions {
            actions
                .into_iter()
                .for_each(|action| local.apply(action, now));
            replica.acted(index, local.state(now));
        }
    }

    fn step(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::CoolDown { replica, millis } => self.local(replica, |local| {
                if !local.is_permanent && !local.is_disabled {
                    let until = now + Duration::from_millis(millis);
                    local.until = local.until.max(Some(until));
                }
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
                local.open();
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
                    self.deliver(message);
                    self.messages.push(message);
                }
            }
            Step::Lose(at) => drop(self.take(at)),
            Step::Wipe => self.server.records.clear(),
            Step::Wait { millis } => self.now += Duration::from_millis(millis),
        }
    }

    fn take(&mut self, at: usize) -> Option<(usize, Name, Record, u64)> {
        let count = self.messages.len();
        (count > 0).then(|| self.messages.swap_remove(at % count))
    }

    fn deliver(&mut self, (to, name, record, _sent): (usize, Name, Record, u64)) {
        let server_now = self.server.millis(self.now);
        let replica = &mut self.replicas[to].0;
        replica.set_clock(server_now, self.now);
        let actions = replica.hear(name, record, self.now);
        self.act(to, actions);
    }

    fn push(&mut self, from: usize, answer_is_lost: bool) {
        let now = self.now;
        let server_now = self.server.millis(now);
        let replica = &mut self.replicas[from].0;
        replica.set_clock(server_now, now);
        for push in replica.due(64, false, now) {
            let (winner, is_news) = self.server.merge(&push, now);
            if is_news {
                let others = (0..REPLICAS).map(|to| (to, push.name, winner, server_now));
                self.messages.extend(others);
            }
            if !answer_is_lost {
                let replica = &mut self.replicas[from].0;
                replica.settle(&push);
                let actions = replica.hear(push.name, winner, now);
                self.act(from, actions);
            }
        }
    }

    /// Every replica connects, pulls, and sends what the server lacks, until all is quiet.
    fn settle(&mut self) {
        self.messages.clear();
        for _ in 0..3 {
            for replica in 0..REPLICAS {
                let (now, server_now) = (self.now, self.server.millis(self.now));
                let records: Vec<_> = self.server.records.clone().into_iter().collect();
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

proptest! {
    #[test]
    fn replicas_agree_after_lost_repeated_and_reordered_messages(steps in steps()) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        world.settle();

        let now = world.now;
        let server = world.server.records.get(&world.opens).copied();
        for (replica, local) in &world.replicas {
            prop_assert_eq!(replica.pending(now), 0);
            let known = replica.known(world.opens).unwrap();
            let expected = server.map_or((0, 0), |record| (record.epoch, record.until));
            prop_assert_eq!(known.epoch, expected.0);
            let server_now = world.server.millis(now);
            match known.end.seen_at(now) {
                End::Never => prop_assert_eq!(expected.1, FOREVER),
                End::Open => prop_assert!(expected.1 <= server_now + 250),
                End::At(end) => {
                    let left = (end - now).as_millis() as u64;
                    prop_assert!(expected.1.abs_diff(server_now + left) <= 250);
                }
            }
            // What operators do applies everywhere.
            prop_assert_eq!(local.is_disabled, known.end == End::Never);
        }
        let health = world.server.records.get(&world.health);
        for (replica, _) in &world.replicas {
            let known = replica.known(world.health).unwrap();
            prop_assert_eq!(known.epoch, health.map_or(0, |record| record.epoch));
        }
    }

    #[test]
    fn no_permanent_mark_reaches_another_replica(steps in steps()) {
        let mut world = World::new();
        let mut own = [false; REPLICAS];
        for step in steps {
            if let Step::MarkPermanently(replica) = step {
                own[replica] = true;
            }
            world.step(step);
        }
        world.settle();
        for ((_, local), own) in world.replicas.iter().zip(own) {
            prop_assert!(own || !local.is_permanent);
        }
    }
}
