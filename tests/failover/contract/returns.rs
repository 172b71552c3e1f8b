//! A request that waits for a key to return holds nothing of the inner service meanwhile, and can be
//! dropped there as anywhere.

use std::time::Duration;

use crate::contract::bench::{Bench, drive, within_a_minute};
use crate::contract::inner::Make;
use crate::contract::over;
use crate::contract::provider::Does::{Answers, LimitsAndHangs, LimitsAtFirst};

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
        a_waiting_request_is_sent_again_when_its_key_recovers,
        other_requests_pass_while_a_refused_request_waits,
        other_requests_pass_while_an_unsent_request_waits,
        nothing_is_held_after_a_refused_request_that_waited,
        nothing_is_held_after_a_request_that_waited_and_was_never_sent,
        a_request_that_is_dropped_with_a_recovered_key_leaves_it_to_the_next_waiter,
    ]
);

/// A bench whose only key is out for a second.
fn without_a_key(make: Make) -> Bench {
    let bench = Bench::patient(make, &[Answers]);
    for key in bench.pool.keys() {
        key.mark_temporary(Some(Duration::from_secs(1)));
    }
    bench
}

async fn a_waiting_request_is_sent_again_when_its_key_recovers(make: Make) {
    let mut bench = Bench::patient(make, &[LimitsAtFirst]);
    assert_eq!(bench.ask().await.unwrap().status(), 200);
    assert_eq!(bench.provider.calls(), 2);
    bench.assert_free("a wait").await;
}

async fn other_requests_pass_while_a_refused_request_waits(make: Make) {
    let mut bench = Bench::patient(make, &[LimitsAtFirst]);
    let mut call = bench.call().await;
    drive(&mut call, &bench.provider, 1).await;
    bench.assert_passes("a refusal").await;
    assert_eq!(within_a_minute(call).await.unwrap().status(), 200);
}

async fn other_requests_pass_while_an_unsent_request_waits(make: Make) {
    let mut bench = without_a_key(make);
    let mut call = bench.call().await;
    drive(&mut call, &bench.provider, 0).await;
    bench.assert_passes("no attempt").await;
    assert_eq!(within_a_minute(call).await.unwrap().status(), 200);
}

async fn nothing_is_held_after_a_refused_request_that_waited(make: Make) {
    let mut bench = Bench::patient(make, &[LimitsAtFirst]);
    let mut call = bench.call().await;
    drive(&mut call, &bench.provider, 1).await;
    drop(call);
    assert_eq!(bench.states(), "t");
    bench.assert_free("a drop").await;
}

async fn nothing_is_held_after_a_request_that_waited_and_was_never_sent(make: Make) {
    let mut bench = without_a_key(make);
    let mut call = bench.call().await;
    drive(&mut call, &bench.provider, 0).await;
    drop(call);
    bench.assert_free("a drop").await;
}

async fn a_request_that_is_dropped_with_a_recovered_key_leaves_it_to_the_next_waiter(make: Make) {
    let mut bench = Bench::patient(make, &[LimitsAndHangs]);
    let mut call = bench.call().await;
    drive(&mut call, &bench.provider, 2).await;
    drop(call);
    assert_eq!(bench.ask().await.unwrap().status(), 200);
    bench.assert_free("a drop").await;
}
