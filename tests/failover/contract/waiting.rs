//! An inner service that is not ready is waited for, and never called.

use tokio_test::{assert_pending, task};
use tower::{Service, ServiceExt};

use crate::contract::bench::{Bench, drive, within_a_minute};
use crate::contract::inner::{self, Make};
use crate::contract::over;
use crate::contract::provider::Does::{Answers, Hangs, Refuses};
use crate::contract::provider::Ready::{No, Yes};

over!(
    [plain, concurrency_limit],
    [
        a_service_that_is_never_ready_is_never_called,
        a_service_that_is_ready_once_is_called_once,
    ]
);

async fn a_service_that_is_never_ready_is_never_called(make: Make) {
    let bench = Bench::with_readiness(make, &[Answers], &[No]);
    let mut stack = bench.stack.clone();
    let mut ready = task::spawn(stack.ready());
    for _ in 0..3 {
        assert_pending!(ready.poll());
    }
    drop(ready);
    assert_eq!(bench.provider.calls(), 0);
    drop(stack);
    bench.assert_free("waiting in vain").await;
}

async fn a_service_that_is_ready_once_is_called_once(make: Make) {
    let mut bench = Bench::with_readiness(make, &[Refuses, Answers], &[Yes, No]);
    let mut call = task::spawn(bench.call().await);
    for _ in 0..3 {
        assert_pending!(call.poll());
    }
    assert_eq!(bench.provider.calls(), 1);
    drop(call);
    bench.assert_free("waiting in vain").await;
}

#[tokio::test(start_paused = true)]
async fn a_later_attempt_waits_for_a_permit_that_another_request_holds() {
    let mut bench = Bench::new(inner::concurrency_limit, &[Refuses, Answers]);
    let mut call = bench.call().await;
    // Next in line, so that the permit of the first attempt is its.
    let mut rival = bench.stack.clone();
    let mut waiting = task::spawn(rival.ready());
    assert_pending!(waiting.poll());
    drive(&mut call, &bench.provider, 1).await;
    assert!(waiting.is_woken());
    within_a_minute(&mut waiting).await.unwrap();
    assert!(futures_util::poll!(&mut call).is_pending());
    drop(waiting);
    drop(rival);
    assert_eq!(within_a_minute(call).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_hanging_attempt_is_not_shed_while_others_are() {
    let mut bench = Bench::new(inner::load_shed, &[Hangs, Answers]);
    let mut call = bench.call().await;
    drive(&mut call, &bench.provider, 1).await;
    let mut rival = bench.stack.clone();
    let shed = rival.ready().await.unwrap().call(bench.request()).await;
    let error = shed.err().unwrap();
    assert!(error.is::<tower::load_shed::error::Overloaded>());
    assert!(futures_util::poll!(&mut call).is_pending());
    drop((call, rival));
    bench.assert_free("a drop").await;
}
