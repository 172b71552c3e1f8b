//! What each way to choose a key costs for one request through the layer, by itself and while a second thread does the
//! same.

use criterion::Criterion;
use test_support::paths::selections;

use crate::requests::time;
use crate::threads::beside;

pub fn bench(criterion: &mut Criterion) {
    for len in [3, 10, 1000] {
        let mut group = criterion.benchmark_group(format!("selection of {len}"));
        for path in selections(len) {
            group.bench_function(path.name, |bencher| time(bencher, &path));
        }
        drop(group);
        let mut group = criterion.benchmark_group(format!("selection of {len}, two threads"));
        for path in selections(len) {
            group.bench_function(path.name, |bencher| {
                beside(|| path.prepare().send(), || time(bencher, &path));
            });
        }
    }
}
