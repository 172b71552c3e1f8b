//! Replicas agree in the end, whatever happens to their messages.

mod local;
mod server;
mod world;

use std::time::Duration;

use proptest::prelude::*;

use self::server::FOREVER;
use self::world::{REPLICAS, SCOPES, Step, World, scope_at, steps};
use crate::record::{End, Told};

proptest! {
    #[test]
    fn replicas_agree_after_lost_repeated_and_reordered_messages(steps in steps()) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        world.settle();

        let now = world.now;
        let server = world.server.records.get(&world.opens).map(|told| told.record);
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
        let (epoch, server_now) = (server.map_or(0, |record| record.epoch), world.server.millis(now));
        for name in world.scopes {
            let Some(Told { record, .. }) = world.server.records.get(&name) else {
                continue;
            };
            // Those of earlier epochs are over, because an operator reinstated the key.
            if record.epoch < epoch || record.until <= server_now + 250 {
                continue;
            }
            for (replica, _) in &world.replicas {
                let known = replica.known(name).unwrap();
                let End::At(end) = known.end else {
                    panic!("{known:?}");
                };
                let left = (end - now).as_millis() as u64;
                prop_assert_eq!(known.epoch, record.epoch);
                prop_assert!(record.until.abs_diff(server_now + left) <= 250);
            }
        }
        let health = world.server.records.get(&world.health);
        for (replica, _) in &world.replicas {
            let known = replica.known(world.health).unwrap();
            prop_assert_eq!(known.epoch, health.map_or(0, |told| told.record.epoch));
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

    #[test]
    fn no_scope_is_closed_for_longer_than_a_replica_was_told(steps in steps()) {
        let mut world = World::new();
        let mut latest = [None; SCOPES];
        for step in steps {
            if let Step::CoolDownInScope { scope, millis, .. } = step {
                latest[scope] = latest[scope].max(Some(world.now + Duration::from_millis(millis)));
            }
            world.step(step);
        }
        world.settle();
        for (_, local) in &world.replicas {
            for (scope, latest) in latest.into_iter().enumerate() {
                let end = local.scopes.get(&scope_at(scope)).copied();
                // Times on the wire are whole milliseconds.
                let latest = latest.map(|latest| latest + Duration::from_millis(1));
                prop_assert!(end <= latest);
            }
        }
    }

    #[test]
    fn an_operator_reinstates_all_scopes_of_a_key_everywhere(steps in steps()) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        world.settle();
        world.now += Duration::from_secs(10);
        world.step(Step::Reinstate(0));
        world.settle();
        for (_, local) in &world.replicas {
            prop_assert!(local.scopes.is_empty());
        }
    }
}
