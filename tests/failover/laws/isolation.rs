//! What one request does to others.

use std::time::Duration;

use proptest::option;
use proptest::prelude::*;

use super::config;
use super::provider::{Health, Kind};
use super::traffic::{kind, odd};
use super::world::{World, run};
use tower_key_failover::pool::KeyState;

proptest! {
    #![proptest_config(config(4))]

    #[test]
    fn one_odd_request_never_makes_a_key_unusable_for_another_request(
        keys in 1..6_usize,
        jitter: u64,
        odd in odd(),
        patience in option::of((0..1_500_u64).prop_map(Duration::from_millis)),
    ) {
        run(async {
            let world = World::new(&vec![Health::Good; keys], jitter);
            world.warm_up().await;
            world.send(Kind::Odd(odd), Duration::from_millis(10), patience).await;
            for key in 0..keys {
                assert_eq!(world.state(key), KeyState::Valid, "key {key}");
            }
        });
    }

    #[test]
    fn one_request_never_keeps_another_from_being_served(
        keys in 1..6_usize,
        jitter: u64,
        kinds in proptest::collection::vec(kind(), 1..4),
    ) {
        run(async {
            let world = World::new(&vec![Health::Good; keys], jitter);
            world.warm_up().await;
            for kind in kinds {
                world.send(kind, Duration::from_millis(10), None).await;
                let next = world.send(Kind::Good, Duration::from_millis(10), None).await;
                assert_eq!(next.status, Some(200), "after {kind:?}");
            }
        });
    }
}
