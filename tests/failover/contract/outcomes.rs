//! Whatever comes of a request, the next one passes.

use crate::contract::bench::Bench;
use crate::contract::inner::Make;
use crate::contract::over;
use crate::contract::provider::Does::{
    Answers, Fails, Refuses, RefusesInBody, RefusesWithoutEnd, SaysNothing,
};

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
        it_is_called_only_when_it_is_ready,
        nothing_is_left_of_an_answer,
        nothing_is_left_of_an_inspected_refusal,
        nothing_is_left_of_an_inspection_that_ran_out_of_time,
        nothing_is_left_of_a_request_for_which_no_key_is_left,
        nothing_is_left_of_a_request_for_which_no_key_was_there,
        nothing_is_left_of_a_failure,
        nothing_is_left_of_a_later_failure,
    ]
);

/// As [`Strict`](crate::contract::strict::Strict) sees to.
async fn it_is_called_only_when_it_is_ready(make: Make) {
    let mut bench = Bench::new(make, &[Refuses, RefusesInBody, Refuses, Answers]);
    let answer = bench.ask().await.unwrap();
    assert_eq!(answer.body().failover().unwrap().attempts(), 4);
    assert_eq!(bench.provider.calls(), 4);
}

async fn nothing_is_left_of_an_answer(make: Make) {
    let mut bench = Bench::new(make, &[Refuses, Answers]);
    assert_eq!(bench.ask().await.unwrap().status(), 200);
    bench.assert_free("an answer").await;
}

async fn nothing_is_left_of_an_inspected_refusal(make: Make) {
    let mut bench = Bench::new(make, &[RefusesInBody, Answers]);
    assert_eq!(bench.ask().await.unwrap().status(), 200);
    bench.assert_free("an inspected refusal").await;
}

async fn nothing_is_left_of_an_inspection_that_ran_out_of_time(make: Make) {
    let mut bench = Bench::new(make, &[RefusesWithoutEnd, SaysNothing]);
    assert_eq!(bench.ask().await.unwrap().status(), 400);
    bench.assert_free("an inspection").await;
}

async fn nothing_is_left_of_a_request_for_which_no_key_is_left(make: Make) {
    let mut bench = Bench::new(make, &[Refuses, Refuses]);
    assert_eq!(bench.ask().await.unwrap().status(), 502);
    bench.assert_free("the last key").await;
}

async fn nothing_is_left_of_a_request_for_which_no_key_was_there(make: Make) {
    let mut bench = Bench::new(make, &[Refuses]);
    for _ in 0..2 {
        assert_eq!(bench.ask().await.unwrap().status(), 502);
    }
    assert_eq!(bench.provider.calls(), 1);
    bench.assert_free("an answer of the layer's own").await;
}

async fn nothing_is_left_of_a_failure(make: Make) {
    let mut bench = Bench::new(make, &[Fails, Answers]);
    bench.ask().await.unwrap_err();
    assert_eq!(bench.states(), "vv");
    bench.assert_free("a failure").await;
}

async fn nothing_is_left_of_a_later_failure(make: Make) {
    let mut bench = Bench::new(make, &[Refuses, Fails, Answers]);
    bench.ask().await.unwrap_err();
    assert_eq!(bench.states(), "pvv");
    bench.assert_free("a later failure").await;
}
