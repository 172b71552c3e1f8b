//! What the layer costs: `cargo bench -p tower-key-failover-benches --bench layer`, or a part of it by name.

#![allow(unreachable_pub)]

mod bodies;
mod chunks;
mod locked;
mod picking;
mod requests;
mod threads;

use std::time::Duration;

use criterion::{Criterion, criterion_main};

fn benches() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    requests::bench(&mut criterion);
    bodies::bench(&mut criterion);
    picking::bench(&mut criterion);
    criterion.final_summary();
}

criterion_main!(benches);
