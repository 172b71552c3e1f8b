//! What a body's size adds, in frames of 16 KiB.

use std::convert::Infallible;

use criterion::measurement::WallTime;
use criterion::{BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service};
use tower_key_failover::KeyFailoverLayer;

use crate::chunks::Chunks;
use test_support::paths::{Plain, Provider, Requests, cloning, good_first, pool, send};

const SIZES: [usize; 4] = [0, 256, 64 << 10, 4 << 20];

pub fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bodies");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let chunks = Chunks::new(size);
        let request = || Requests::Shared.with_body(chunks.clone());
        let bad_key = || Requests::Shared.with_key("key-0").map(|_| chunks.clone());
        let first_of_3 = KeyFailoverLayer::new(Plain, good_first(3)).layer(Provider);
        let refused = || KeyFailoverLayer::new(Plain, pool(2, 2)).layer(Provider);

        let id = |name| BenchmarkId::new(name, size);
        path(&mut group, id("bare"), || (Provider, request()));
        path(&mut group, id("retry"), || {
            (cloning(0).layer(Provider), request())
        });
        path(&mut group, id("collect, retry"), || {
            (Collecting(cloning(0).layer(Provider)), request())
        });
        path(&mut group, id("first of 3"), || {
            (first_of_3.clone(), request())
        });
        path(&mut group, id("retry, one refused"), || {
            (cloning(1).layer(Provider), bad_key())
        });
        path(&mut group, id("one refused"), || (refused(), request()));
    }
}

fn path<S, R>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    prepare: impl Fn() -> (S, Request<Chunks>),
) where
    S: Service<Request<Chunks>, Response = Response<R>, Error = Infallible>,
{
    group.bench_function(id, |bencher| {
        bencher.iter_batched_ref(
            || {
                let (service, request) = prepare();
                (service, Some(request))
            },
            |(service, request)| send(service, request.take().expect("sent once")),
            BatchSize::SmallInput,
        );
    });
}

/// Reads the whole body before it calls, as those do whose body is not `Clone`.
struct Collecting<S>(S);

impl<S> Service<Request<Chunks>> for Collecting<S>
where
    S: Service<Request<Full<bytes::Bytes>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Chunks>) -> S::Future {
        let (head, body) = request.into_parts();
        let body = body.collect().now_or_never().expect("all is there");
        let body = Full::from(body.unwrap().to_bytes());
        self.0.call(Request::from_parts(head, body))
    }
}
