//! Which sessions move when a pool changes, and that all replicas agree.

use proptest::prelude::*;

use super::*;

/// A change of the list of keys. Positions are taken modulo the number of keys.
#[derive(Clone, Debug)]
enum Change {
    Add { weight: u32 },
    Remove { at: usize },
    Reorder { by: usize },
    Reweigh { at: usize, weight: u32 },
    ReplaceSecret { at: usize },
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let weight = || 1_u32..=1000;
    let at = || 0_usize..100;
    let change = prop_oneof![
        weight().prop_map(|weight| Change::Add { weight }),
        at().prop_map(|at| Change::Remove { at }),
        at().prop_map(|by| Change::Reorder { by }),
        (at(), weight()).prop_map(|(at, weight)| Change::Reweigh { at, weight }),
        at().prop_map(|at| Change::ReplaceSecret { at }),
    ];
    prop::collection::vec(change, 1..8)
}

#[derive(Clone, Debug)]
struct Member {
    label: String,
    secret: String,
    weight: u32,
}

impl Member {
    fn key(&self) -> NewKey {
        let key = NewKey::new(self.secret.clone()).label(&*self.label);
        key.weight(self.weight)
    }
}

/// A pool, and what it should contain.
struct World {
    pool: KeyPool,
    members: Vec<Member>,
    changes: usize,
}

impl World {
    fn new(weights: &[u32]) -> Self {
        let member = |(at, weight): (usize, &u32)| Member {
            label: format!("key {at}"),
            secret: format!("secret-{at}"),
            weight: *weight,
        };
        let members: Vec<_> = weights.iter().enumerate().map(member).collect();
        Self {
            pool: pool_of(Selection::weighted(), members.iter().map(Member::key)),
            members,
            changes: 0,
        }
    }

    /// Applies a change. Returns the label of the key whose sessions may move.
    fn apply(&mut self, change: &Change) -> Option<String> {
        self.changes += 1;
        let len = self.members.len();
        let members = &mut self.members;
        match *change {
            Change::Add { weight } => {
                let member = Member {
                    label: format!("added {}", self.changes),
                    secret: format!("secret-added-{}", self.changes),
                    weight,
                };
                self.pool.add_key(member.key()).unwrap();
                members.push(member);
                members.last().map(|member| member.label.clone())
            }
            Change::Remove { .. } if len == 1 => None,
            Change::Remove { at } => {
                let member = members.remove(at % len);
                self.pool.remove_key(&*member.label).unwrap();
                Some(member.label)
            }
            Change::Reorder { by } => {
                members.rotate_left(by % len);
                members.swap(0, by % len);
                self.pool
                    .replace_keys(members.iter().map(Member::key))
                    .unwrap();
                None
            }
            Change::Reweigh { at, weight } => {
                members[at % len].weight = weight;
                self.pool
                    .replace_keys(members.iter().map(Member::key))
                    .unwrap();
                Some(members[at % len].label.clone())
            }
            Change::ReplaceSecret { at } => {
                let member = &mut members[at % len];
                member.secret = format!("secret-changed-{}", self.changes);
                let secret = member.secret.clone();
                self.pool.replace_secret(&*member.label, secret).unwrap();
                None
            }
        }
    }

    fn weight(&self, label: &str) -> Option<u32> {
        let mut members = self.members.iter();
        Some(members.find(|member| member.label == label)?.weight)
    }

    /// A replica that was started with the current keys, in an order of its own.
    fn replica(&self, selection: Selection) -> KeyPool {
        let mut keys: Vec<_> = self.members.iter().map(Member::key).collect();
        keys.reverse();
        pool_of(selection, keys)
    }
}

fn orders(pool: &KeyPool, sessions: &[u64]) -> Vec<Vec<String>> {
    sessions
        .iter()
        .map(|session| order(pool, *session))
        .collect()
}

proptest! {
    #[test]
    fn a_change_moves_only_the_sessions_of_the_key_that_changes_and_all_replicas_agree(
        weights in prop::collection::vec(1_u32..=1000, 1..6), changes in changes(),
        sessions in prop::collection::vec(any::<u64>(), 8),
    ) {
        let mut world = World::new(&weights);
        for change in changes {
            let before = orders(&world.pool, &sessions);
            let changed = world.apply(&change);
            let after = orders(&world.pool, &sessions);
            for (before, after) in before.iter().zip(&after) {
                let others = |order: &[String]| -> Vec<_> {
                    order.iter().filter(|label| Some(*label) != changed.as_ref()).cloned().collect()
                };
                prop_assert_eq!(others(before), others(after), "{:?}", change);
            }
            for selection in [Selection::in_order(), Selection::least_in_flight()] {
                prop_assert_eq!(&orders(&world.replica(selection), &sessions), &after);
            }
        }
    }

    #[test]
    fn a_greater_weight_takes_sessions_from_others_and_gives_none_away(
        weights in prop::collection::vec(1_u32..=1000, 2..6), at in 0_usize..6, weight in 1_u32..=1000,
        sessions in prop::collection::vec(any::<u64>(), 16),
    ) {
        let mut world = World::new(&weights);
        let label = world.members[at % weights.len()].label.clone();
        let place = |order: &Vec<String>| order.iter().position(|other| *other == label);
        let old = world.weight(&label);
        let before = orders(&world.pool, &sessions);
        world.apply(&Change::Reweigh { at, weight });
        for (before, after) in before.iter().zip(&orders(&world.pool, &sessions)) {
            match Some(weight) > old {
                true => prop_assert!(place(after) <= place(before)),
                false => prop_assert!(place(after) >= place(before)),
            }
        }
    }
}

#[cfg(feature = "serde")]
proptest! {
    #[test]
    fn a_replica_with_restored_state_agrees_on_every_session(
        weights in prop::collection::vec(1_u32..=1000, 2..6), changes in changes(), down: prop::sample::Index,
        sessions in prop::collection::vec(any::<u64>(), 8),
    ) {
        let mut world = World::new(&weights);
        for change in &changes {
            world.apply(change);
        }
        let down = down.index(world.members.len());
        world.pool.keys().nth(down).unwrap().mark_temporary(Some(Duration::from_secs(3600)));
        let saved = serde_json::to_string(&world.pool.save()).unwrap();
        let replica = world.replica(Selection::round_robin());
        prop_assert_eq!(replica.restore(&serde_json::from_str(&saved).unwrap()), 1);
        let expected = orders(&world.pool, &sessions);
        prop_assert!(expected.iter().all(|order| order.len() == world.members.len() - 1));
        prop_assert_eq!(orders(&replica, &sessions), expected);
    }
}
