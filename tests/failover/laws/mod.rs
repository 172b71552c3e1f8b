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

/// `LAW_CASES` sets the number of cases.
fn config(cases: u32) -> Config {
    let from_env = std::env::var("LAW_CASES").map(|cases| cases.parse().expect("a number"));
    Config {
        cases: from_env.unwrap_or(cases),
        max_shrink_iters: 2_000,
        failure_persistence: None,
        ..Config::default()
    }
}
