//! An error of the inner service's is the caller's, as it is.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::rc::Rc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower::{Layer, Service, ServiceExt};
use tower_key_failover::RequestBody;

use crate::contract::bench::Bench;
use crate::contract::inner::Make;
use crate::contract::over;
use crate::contract::provider::Does::{Answers, Fails, Refuses};
use crate::contract::provider::Fault;
use crate::contract::provider::Ready::{self as Readiness, Yes};
use test_support::mock::{Body, layer, pool, request};

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
        an_error_of_a_call_is_returned,
        an_error_of_a_later_call_is_returned,
    ]
);

mod readiness {
    use super::{
        an_error_of_a_later_readiness_is_returned, an_error_of_the_first_readiness_is_returned,
    };

    // Beneath a buffer or a balancer an instance that failed is theirs to tell of.
    crate::contract::over!(
        [plain, concurrency_limit],
        [
            an_error_of_the_first_readiness_is_returned,
            an_error_of_a_later_readiness_is_returned,
        ]
    );
}

async fn an_error_of_a_call_is_returned(make: Make) {
    let mut bench = Bench::new(make, &[Fails, Answers]);
    let error = bench.ask().await.unwrap_err();
    assert!(error.is::<Fault>() && bench.provider.is_fault(&error));
}

async fn an_error_of_a_later_call_is_returned(make: Make) {
    let mut bench = Bench::new(make, &[Refuses, Fails, Answers]);
    let error = bench.ask().await.unwrap_err();
    assert!(error.is::<Fault>() && bench.provider.is_fault(&error));
}

async fn an_error_of_the_first_readiness_is_returned(make: Make) {
    let bench = Bench::with_readiness(make, &[Answers], &[Readiness::Fails]);
    let error = bench.stack.clone().ready_oneshot().await.err().unwrap();
    assert!(error.is::<Fault>() && bench.provider.is_fault(&error));
    bench.assert_free("a failed readiness").await;
}

async fn an_error_of_a_later_readiness_is_returned(make: Make) {
    let mut bench = Bench::with_readiness(make, &[Refuses, Answers], &[Yes, Readiness::Fails]);
    let error = bench.ask().await.unwrap_err();
    assert!(error.is::<Fault>() && bench.provider.is_fault(&error));
    assert_eq!(bench.states(), "pv");
    bench.assert_free("a failed readiness").await;
}

/// Its errors can neither be sent nor boxed as errors, nor copied.
#[derive(Clone, Debug)]
struct Odd(Rc<str>);

#[derive(Debug)]
struct OddError(Rc<str>);

impl Service<Request<RequestBody<Body>>> for Odd {
    type Response = Response<Body>;
    type Error = OddError;
    type Future = Ready<Result<Response<Body>, OddError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OddError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody<Body>>) -> Self::Future {
        ready(Err(OddError(Rc::clone(&self.0))))
    }
}

#[tokio::test]
async fn an_error_of_any_type_keeps_its_type_and_its_identity() {
    let odd = Odd("odd".into());
    let service = layer(&pool(["k0", "k1"])).layer(odd.clone());
    let OddError(returned) = service.oneshot(request("one")).await.unwrap_err();
    assert!(Rc::ptr_eq(&returned, &odd.0));
}

#[tokio::test]
async fn an_infallible_service_stays_infallible() {
    let inner = tower::service_fn(async |_: Request<RequestBody<Body>>| {
        Ok::<_, Infallible>(Response::new(Body::default()))
    });
    let service = layer(&pool(["k0", "k1"])).layer(inner);
    let Ok(answer) = service.oneshot(request("one")).await;
    assert_eq!(answer.status(), 200);
}
