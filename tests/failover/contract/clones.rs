//! Clones have a readiness of their own, and share the pool.

use tokio_test::{assert_pending, task};
use tower::ServiceExt;

use crate::contract::bench::{Bench, drive, within_a_minute};
use crate::contract::inner::{self, Make};
use crate::contract::over;
use crate::contract::provider::Does::{Answers, Hangs, Refuses};
use crate::contract::provider::Ready::{Fails, No};

over!(
    [
        plain,
        concurrency_limit,
        load_shed,
        buffer,
        buffer_of_a_limit,
        balance,
        rate_limit,
    ],
    [a_key_that_one_clone_marked_is_marked_for_all_clones]
);

async fn a_key_that_one_clone_marked_is_marked_for_all_clones(make: Make) {
    let mut bench = Bench::new(make, &[Refuses, Answers]);
    let clone = bench.stack.clone();
    bench.ask().await.unwrap();
    let answer = within_a_minute(clone.oneshot(bench.request())).await;
    assert_eq!(answer.unwrap().body().failover().unwrap().attempts(), 1);
    assert_eq!(bench.provider.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_is_not_ready_does_not_block_other_clones() {
    let bench = Bench::with_readiness(inner::plain, &[Answers], &[No]);
    let mut stuck = bench.stack.clone();
    let mut ready = task::spawn(stuck.ready());
    assert_pending!(ready.poll());
    bench.assert_free("nothing").await;
    assert_pending!(ready.poll());
}

#[tokio::test(start_paused = true)]
async fn a_clone_that_failed_does_not_affect_other_clones() {
    let bench = Bench::with_readiness(inner::plain, &[Answers], &[Fails]);
    bench.stack.clone().ready().await.err().unwrap();
    bench.assert_free("a failed readiness").await;
}

#[tokio::test(start_paused = true)]
async fn a_clone_with_a_hanging_request_does_not_affect_other_clones() {
    let mut bench = Bench::new(inner::plain, &[Hangs]);
    let mut call = bench.call().await;
    drive(&mut call, &bench.provider, 1).await;
    let mut request = bench.request();
    let own = "the-callers-own".parse().unwrap();
    request.headers_mut().insert("x-key", own);
    let answer = within_a_minute(bench.stack.clone().oneshot(request)).await;
    assert_eq!(answer.unwrap().status(), 200);
    assert!(futures_util::poll!(&mut call).is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_clone_of_a_ready_service_is_not_ready() {
    let mut bench = Bench::new(inner::concurrency_limit, &[Answers]);
    bench.stack.ready().await.unwrap();
    let mut clone = bench.stack.clone();
    // The only permit is the original's; a clone that took itself for ready would panic.
    assert_pending!(task::spawn(clone.ready()).poll());
}
