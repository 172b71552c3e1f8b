//! A panic of the inner service's passes through. Nothing is held after it, no key is blamed for
//! it, and others go on.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tower::ServiceExt;

use crate::contract::bench::Bench;
use crate::contract::inner::Make;
use crate::contract::over;
use crate::contract::provider::Does::{
    Answers, PanicsInBody, PanicsInCall, PanicsInFuture, Refuses, RefusesAndPanics,
};
use crate::contract::provider::Ready::{Panics, Yes};

// The worker of a buffer would die of it.
over!(
    [plain, concurrency_limit, load_shed],
    [
        a_panic_in_poll_ready_passes_through,
        a_panic_in_call_passes_through,
        a_panic_in_the_future_passes_through,
        a_panic_in_poll_ready_of_a_later_attempt_passes_through,
        a_panic_in_a_later_call_passes_through,
        a_panic_in_the_future_of_a_later_attempt_passes_through,
        a_panic_in_an_inspected_body_passes_through,
        a_panic_in_a_dropped_body_passes_through,
    ]
);

/// Has a panic pass through.
async fn panics<T>(what: impl Future<Output = T>, place: &str) {
    let caught = AssertUnwindSafe(what).catch_unwind().await;
    let panic = caught.err().expect("the panic was swallowed");
    let message = match panic.downcast_ref::<String>() {
        Some(message) => message,
        None => *panic.downcast_ref::<&str>().unwrap(),
    };
    assert!(message.contains(place), "{message}");
}

async fn ask(bench: &mut Bench, place: &str) {
    panics(bench.ask(), place).await;
    bench.assert_free("a panic").await;
}

async fn a_panic_in_poll_ready_passes_through(make: Make) {
    let bench = Bench::with_readiness(make, &[Answers], &[Panics]);
    panics(bench.stack.clone().ready_oneshot(), "in `poll_ready`").await;
    bench.assert_free("a panic").await;
    assert_eq!(bench.states(), "v");
}

async fn a_panic_in_call_passes_through(make: Make) {
    let mut bench = Bench::new(make, &[PanicsInCall, Answers]);
    ask(&mut bench, "in `call`").await;
    assert_eq!(bench.states(), "vv");
}

async fn a_panic_in_the_future_passes_through(make: Make) {
    let mut bench = Bench::new(make, &[PanicsInFuture, Answers]);
    ask(&mut bench, "in the future").await;
    assert_eq!(bench.states(), "vv");
}

async fn a_panic_in_poll_ready_of_a_later_attempt_passes_through(make: Make) {
    let mut bench = Bench::with_readiness(make, &[Refuses, Answers], &[Yes, Panics]);
    ask(&mut bench, "in `poll_ready`").await;
    assert_eq!(bench.states(), "pv");
}

async fn a_panic_in_a_later_call_passes_through(make: Make) {
    let mut bench = Bench::new(make, &[Refuses, PanicsInCall, Answers]);
    ask(&mut bench, "in `call`").await;
    assert_eq!(bench.states(), "pvv");
}

async fn a_panic_in_the_future_of_a_later_attempt_passes_through(make: Make) {
    let mut bench = Bench::new(make, &[Refuses, PanicsInFuture, Answers]);
    ask(&mut bench, "in the future").await;
    assert_eq!(bench.states(), "pvv");
}

/// While it unwinds, no policy is asked what came.
async fn a_panic_in_an_inspected_body_passes_through(make: Make) {
    let mut bench = Bench::new(make, &[PanicsInBody, Answers]);
    ask(&mut bench, "in the body").await;
    assert_eq!(bench.states(), "vv");
}

async fn a_panic_in_a_dropped_body_passes_through(make: Make) {
    let mut bench = Bench::new(make, &[RefusesAndPanics, Answers]);
    ask(&mut bench, "in the body").await;
    assert_eq!(bench.states(), "pv");
}
