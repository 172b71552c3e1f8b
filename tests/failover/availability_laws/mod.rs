//! Laws of availability, which hold whatever happens to a pool: requests with any result, time, operators,
//! other lists of keys and groups, and restarts. They say what people may rely on, and not how the pool does it.

mod cases;
mod facts;
mod operation;
mod world;

use proptest::prelude::*;
use proptest::test_runner::Config;

use operation::{Operation, Settings, operations, settings};
use world::World;

fn config() -> Config {
    Config {
        max_shrink_iters: 20_000,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_pool_obeys_the_laws_of_availability(
        settings in settings(),
        operations in operations(),
    ) {
        run(&settings, &operations);
    }
}

fn run(settings: &Settings, operations: &[Operation]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut world = World::new(settings);
        for operation in operations {
            world.apply(operation).await;
        }
    });
}
