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
        the_inner_service_is_called_only_when_it_is_ready,
        nothing_is_held_after_a_response,
        nothing_is_held_after_an_inspected_refusal,
        nothing_is_held_after_an_inspection_that_timed_out,
        nothing_is_held_after_all_keys_were_refused,
        nothing_is_held_after_a_request_without_a_usable_key,
        nothing_is_held_after_an_error,
        nothing_is_held_after_an_error_of_a_later_attempt,
    ]
);

/// As [`Strict`](crate::contract::strict::Strict) sees to.
async fn the_inner_service_is_called_only_when_it_is_ready(make: Make) {
    let mut bench = Bench::new(make, &[Refuses, RefusesInBody, Refuses, Answers]);
    let answer = bench.ask().await.unwrap();
    assert_eq!(answer.body().failover().unwrap().attempts(), 4);
    assert_eq!(bench.provider.calls(), 4);
}

async fn nothing_is_held_after_a_response(make: Make) {
    let mut bench = Bench::new(make, &[Refuses, Answers]);
    assert_eq!(bench.ask().await.unwrap().status(), 200);
    bench.assert_free("an answer").await;
}

async fn nothing_is_held_after_an_inspected_refusal(make: Make) {
    let mut bench = Bench::new(make, &[RefusesInBody, Answers]);
    assert_eq!(bench.ask().await.unwrap().status(), 200);
    bench.assert_free("an inspected refusal").await;
}

async fn nothing_is_held_after_an_inspection_that_timed_out(make: Make) {
    let mut bench = Bench::new(make, &[RefusesWithoutEnd, SaysNothing]);
    assert_eq!(bench.ask().await.unwrap().status(), 400);
    bench.assert_free("an inspection").await;
}

async fn nothing_is_held_after_all_keys_were_refused(make: Make) {
    let mut bench = Bench::new(make, &[Refuses, Refuses]);
    assert_eq!(bench.ask().await.unwrap().status(), 502);
    bench.assert_free("the last key").await;
}

async fn nothing_is_held_after_a_request_without_a_usable_key(make: Make) {
    let mut bench = Bench::new(make, &[Refuses]);
    for _ in 0..2 {
        assert_eq!(bench.ask().await.unwrap().status(), 502);
    }
    assert_eq!(bench.provider.calls(), 1);
    bench.assert_free("an answer of the layer's own").await;
}

async fn nothing_is_held_after_an_error(make: Make) {
    let mut bench = Bench::new(make, &[Fails, Answers]);
    bench.ask().await.unwrap_err();
    assert_eq!(bench.states(), "vv");
    bench.assert_free("a failure").await;
}

async fn nothing_is_held_after_an_error_of_a_later_attempt(make: Make) {
    let mut bench = Bench::new(make, &[Refuses, Fails, Answers]);
    bench.ask().await.unwrap_err();
    assert_eq!(bench.states(), "pvv");
    bench.assert_free("a later failure").await;
}
