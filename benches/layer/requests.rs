//! Every path, and the common ones while a second thread sends requests through the same layer.

use criterion::{BatchSize, Bencher, Criterion};
use test_support::paths::{self, Path, Requests};
use tower_key_failover::policy::Provider;

use crate::threads::beside;

const COMMON: [&str; 5] = ["bare", "retry", "byok", "one key", "first of 3"];

pub fn bench(criterion: &mut Criterion) {
    for requests in Requests::ALL {
        let mut group = criterion.benchmark_group(requests.name());
        for path in all_paths(requests) {
            group.bench_function(path.name, |bencher| time(bencher, &path));
        }
    }
    let mut group = criterion.benchmark_group("two threads");
    for path in all_paths(Requests::Shared) {
        if COMMON.contains(&path.name) {
            group.bench_function(path.name, |bencher| {
                beside(|| path.prepare().send(), || time(bencher, &path));
            });
        }
    }
}

fn all_paths(requests: Requests) -> Vec<Path> {
    paths::all(requests, Provider::anthropic(), Provider::openai())
}

pub fn time(bencher: &mut Bencher<'_>, path: &Path) {
    let prepare = || path.prepare();
    bencher.iter_batched_ref(prepare, |request| request.send(), BatchSize::SmallInput);
}
