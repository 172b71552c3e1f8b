//! How many requests succeed.

use proptest::prelude::*;

use super::config;
use super::provider::Kind;
use super::traffic::{events, keys, play};
use super::world::{World, run};

proptest! {
    #![proptest_config(config(8))]

    #[test]
    fn good_traffic_gets_at_least_99_percent_success_whenever_a_good_key_exists(
        keys in keys(6),
        jitter: u64,
        events in events(200..400),
    ) {
        run(async {
            let world = World::new(&keys, jitter);
            world.warm_up().await;
            let outcomes = play(&world, &events).await;
            let statuses = outcomes.iter().filter(|it| it.kind == Kind::Good).filter_map(|it| it.status);
            let statuses: Vec<_> = statuses.collect();
            let failed = statuses.iter().filter(|status| **status != 200).count();
            assert!(100 * failed <= statuses.len(), "{failed} of {} failed", statuses.len());
        });
    }
}
