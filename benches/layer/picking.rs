//! The pool by itself, beside one atomic word and beside a lock for each key.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use tokio::time::Instant;

use crate::locked::LockedPool;
use crate::threads::beside;
use test_support::paths::pool;

const MINUTE: Duration = Duration::from_secs(60);

pub fn bench(criterion: &mut Criterion) {
    picking(criterion);
    marking(criterion);
}

/// Pools of so many keys, of which so many at the end are usable.
const POOLS: [(usize, usize); 5] = [(1, 1), (3, 3), (10, 10), (10, 1), (1000, 1)];

fn picking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("picking");
    for (len, usable) in POOLS {
        let words = words(len, usable);
        let load = || {
            words
                .iter()
                .position(|word| black_box(word).load(Ordering::Relaxed) == 0)
        };
        let locked = LockedPool::new(len, usable);
        let pool = pool(len, usable);
        let walk = || pool.walker().next_key();

        let id = |name: &str| BenchmarkId::new(name, format!("{usable} of {len}"));
        group.bench_function(id("loads"), |bencher| bencher.iter(load));
        group.bench_function(id("locks"), |bencher| bencher.iter(|| locked.pick()));
        group.bench_function(id("walker"), |bencher| bencher.iter(walk));
        let two = |name: &str| id(&format!("{name}, two threads"));
        group.bench_function(two("loads"), |bencher| {
            beside(|| _ = black_box(load()), || bencher.iter(load));
        });
        group.bench_function(two("locks"), |bencher| {
            beside(
                || _ = black_box(locked.pick()),
                || bencher.iter(|| locked.pick()),
            );
        });
        group.bench_function(two("walker"), |bencher| {
            beside(|| _ = black_box(walk()), || bencher.iter(walk));
        });
    }
}

/// Zero is usable.
fn words(len: usize, usable: usize) -> Vec<AtomicU64> {
    (0..len)
        .map(|at| AtomicU64::from(u64::from(at < len - usable)))
        .collect()
}

fn marking(criterion: &mut Criterion) {
    let word = AtomicU64::new(0);
    let locked = LockedPool::new(1, 1);

    let mut group = criterion.benchmark_group("marking");
    group.bench_function("fetch_max", |bencher| {
        bencher.iter(|| black_box(&word).fetch_max(black_box(1), Ordering::Relaxed));
    });
    group.bench_function("permanent", |bencher| {
        let key = pool(1, 1).walker().next_key().unwrap();
        bencher.iter(|| black_box(&key).mark_permanent());
    });
    group.bench_function("permanent, locked", |bencher| {
        bencher.iter(|| black_box(&locked).mark_permanent(0));
    });
    group.bench_function("fetch_max and a clock", |bencher| {
        let epoch = Instant::now();
        bencher.iter(|| {
            let until = Instant::now().saturating_duration_since(epoch) + MINUTE;
            black_box(&word).fetch_max(until.as_millis() as u64, Ordering::Relaxed)
        });
    });
    group.bench_function("temporary", |bencher| {
        let key = pool(1, 1).walker().next_key().unwrap();
        bencher.iter(|| black_box(&key).mark_temporary(Some(MINUTE)));
    });
    group.bench_function("temporary, locked", |bencher| {
        let locked = LockedPool::new(1, 1);
        bencher.iter(|| black_box(&locked).mark_temporary(0, MINUTE));
    });
}
