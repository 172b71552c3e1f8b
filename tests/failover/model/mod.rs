//! The pool, the walk over it and the service, against a plain model of what they are to do: any
//! interleaving of up to eight requests with time, cancellations, operators and other lists of keys.

#![allow(missing_docs, unreachable_pub)]

mod operation;
mod reference;
mod world;

use proptest::prelude::*;
use proptest::test_runner::Config;

use operation::{Operation, Rules, operations, rules};
use reference::Reference;
use world::World;

fn config() -> Config {
    let default = Config::default();
    Config {
        cases: default.cases * 40,
        max_shrink_iters: 20_000,
        ..default
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_layer_behaves_like_its_reference_model(
        rules in rules(),
        operations in operations(),
    ) {
        play(&rules, &operations);
    }
}

fn play(rules: &Rules, operations: &[Operation]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut world = World::new(rules);
        let mut reference = Reference::new(rules);
        for (at, operation) in operations.iter().enumerate() {
            let did = world.apply(operation).await;
            assert_eq!(did, reference.apply(operation), "{at}: {operation:?}");
            assert_eq!(world.look(), reference.look(), "after {at}: {operation:?}");
        }
    });
}
