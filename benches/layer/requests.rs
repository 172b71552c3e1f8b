//! Every path, side by side; and those of every day while a second thread sends over the same layer.

use criterion::{BatchSize, Bencher, Criterion};

use crate::paths::{self, Path, Requests};
use crate::threads::beside;

const EVERY_DAY: [&str; 5] = ["bare", "retry", "byok", "one key", "first of 3"];

pub fn bench(criterion: &mut Criterion) {
    for requests in Requests::ALL {
        let mut group = criterion.benchmark_group(requests.name());
        for path in paths::all(requests) {
            group.bench_function(path.name, |bencher| time(bencher, &path));
        }
    }
    let mut group = criterion.benchmark_group("two threads");
    for path in paths::all(Requests::Shared) {
        if EVERY_DAY.contains(&path.name) {
            group.bench_function(path.name, |bencher| {
                beside(|| path.prepare().send(), || time(bencher, &path));
            });
        }
    }
}

fn time(bencher: &mut Bencher<'_>, path: &Path) {
    let prepare = || path.prepare();
    bencher.iter_batched_ref(prepare, |request| request.send(), BatchSize::SmallInput);
}
