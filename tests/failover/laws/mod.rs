//! Laws of the pool and the layer, for random traffic against a simulated provider with time paused.
//!
//! Each law is a property that must hold for every mix of requests. None of them repeats how the code
//! reaches it.

mod provider;
mod traffic;
mod world;

mod isolation;
mod probes;
mod success_rate;
mod suspicion;

use proptest::test_runner::Config;

/// One case instead of every `for_each` cases, because a case consists of many requests.
fn config(for_each: u32) -> Config {
    let default = Config::default();
    Config {
        cases: (default.cases / for_each).max(1),
        max_shrink_iters: 2_000,
        ..default
    }
}
