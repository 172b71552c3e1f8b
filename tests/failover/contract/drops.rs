//! A future can be dropped in any state. Nothing of it is left then, and the keys are marked as far
//! as they were judged.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use crate::contract::bench::{Bench, drive};
use crate::contract::inner::Make;
use crate::contract::over;
use crate::contract::provider::Does::{
    Answers, Fails, Hangs, Refuses, RefusesAndPanics, RefusesWithoutEnd, SaysNothing,
};
use crate::contract::provider::Ready::{self, No, Yes};

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
    [
        a_drop_before_the_first_poll_leaves_nothing_behind,
        a_drop_during_an_attempt_leaves_nothing_behind,
        a_drop_while_a_refusal_is_inspected_leaves_nothing_behind,
        a_drop_while_an_empty_response_is_inspected_leaves_nothing_behind,
        a_drop_while_a_refused_body_is_dropped_leaves_nothing_behind,
        a_drop_during_a_later_attempt_leaves_nothing_behind,
        a_drop_after_the_response_leaves_nothing_behind,
        a_drop_after_an_error_leaves_nothing_behind,
        a_drop_before_the_exhausted_response_leaves_nothing_behind,
    ]
);

mod unready {
    use super::{
        a_drop_after_a_readiness_error_of_the_next_attempt_leaves_nothing_behind,
        a_drop_before_the_next_attempt_is_ready_leaves_nothing_behind,
    };

    // Where a queue is between, the attempt waits in it.
    crate::contract::over!(
        [plain, concurrency_limit],
        [
            a_drop_before_the_next_attempt_is_ready_leaves_nothing_behind,
            a_drop_after_a_readiness_error_of_the_next_attempt_leaves_nothing_behind,
        ]
    );
}

async fn a_drop_before_the_first_poll_leaves_nothing_behind(make: Make) {
    let mut bench = Bench::new(make, &[Hangs, Answers]);
    drop(bench.call().await);
    assert_eq!(bench.states(), "vv");
    bench.assert_free("a drop").await;
}

async fn a_drop_during_an_attempt_leaves_nothing_behind(make: Make) {
    let mut bench = Bench::new(make, &[Hangs, Answers]);
    let mut call = bench.call().await;
    drive(&mut call, &bench.provider, 1).await;
    drop(call);
    assert_eq!(bench.states(), "vv");
    bench.assert_free("a drop").await;
}

async fn a_drop_while_a_refusal_is_inspected_leaves_nothing_behind(make: Make) {
    let mut bench = Bench::new(make, &[RefusesWithoutEnd, Answers]);
    let mut call = bench.call().await;
    drive(&mut call, &bench.provider, 1).await;
    // What the body said is read with the next poll, if it was not with the last.
    assert!(futures_util::poll!(&mut call).is_pending());
    drop(call);
    assert_eq!(bench.states(), "pv");
    bench.assert_free("a drop").await;
}

async fn a_drop_while_an_empty_response_is_inspected_leaves_nothing_behind(make: Make) {
    let mut bench = Bench::new(make, &[SaysNothing, Answers]);
    let mut call = bench.call().await;
    drive(&mut call, &bench.provider, 1).await;
    drop(call);
    assert_eq!(bench.states(), "vv");
    bench.assert_free("a drop").await;
}

/// It passes through this state within one poll, unless the body stops it there.
async fn a_drop_while_a_refused_body_is_dropped_leaves_nothing_behind(make: Make) {
    let mut bench = Bench::new(make, &[RefusesAndPanics, Answers]);
    let mut call = bench.call().await;
    AssertUnwindSafe(&mut call)
        .catch_unwind()
        .await
        .unwrap_err();
    drop(call);
    assert_eq!(bench.states(), "pv");
    bench.assert_free("a drop").await;
}

async fn a_drop_before_the_next_attempt_is_ready_leaves_nothing_behind(make: Make) {
    let mut bench = Bench::with_readiness(make, &[Refuses, Answers], &[Yes, No]);
    let mut call = bench.call().await;
    drive(&mut call, &bench.provider, 1).await;
    assert!(futures_util::poll!(&mut call).is_pending());
    drop(call);
    assert_eq!(bench.states(), "pv");
    bench.assert_free("a drop").await;
}

async fn a_drop_during_a_later_attempt_leaves_nothing_behind(make: Make) {
    let mut bench = Bench::new(make, &[Refuses, Hangs, Answers]);
    let mut call = bench.call().await;
    drive(&mut call, &bench.provider, 2).await;
    drop(call);
    assert_eq!(bench.states(), "pvv");
    bench.assert_free("a drop").await;
}

async fn a_drop_after_the_response_leaves_nothing_behind(make: Make) {
    let mut bench = Bench::new(make, &[Refuses, Answers]);
    let mut call = bench.call().await;
    let answer = (&mut call).await.unwrap();
    drop(answer);
    // The response has freed everything, although the future still exists.
    bench.assert_free("a drop").await;
    drop(call);
    assert_eq!(bench.states(), "pv");
}

/// All that was held went with the error.
async fn a_drop_after_an_error_leaves_nothing_behind(make: Make) {
    let mut bench = Bench::new(make, &[Fails, Answers]);
    let mut call = bench.call().await;
    (&mut call).await.unwrap_err();
    bench.assert_free("a failure").await;
    drop(call);
    assert_eq!(bench.states(), "vv");
}

async fn a_drop_after_a_readiness_error_of_the_next_attempt_leaves_nothing_behind(make: Make) {
    let readiness = [Yes, Ready::Fails];
    let mut bench = Bench::with_readiness(make, &[Refuses, Answers], &readiness);
    let mut call = bench.call().await;
    (&mut call).await.unwrap_err();
    bench.assert_free("a failed readiness").await;
    drop(call);
    assert_eq!(bench.states(), "pv");
}

async fn a_drop_before_the_exhausted_response_leaves_nothing_behind(make: Make) {
    let mut bench = Bench::new(make, &[Refuses]);
    assert_eq!(bench.ask().await.unwrap().status(), 502);
    let call = bench.call().await;
    drop(call);
    assert_eq!(bench.states(), "p");
    bench.assert_free("a drop").await;
}
