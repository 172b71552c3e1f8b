//! The inner service is called only when it is ready, and let go of before it is asked again.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use test_support::mock::{Body, Handle, key_of, layer, pool, request, response, stack};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_key_failover::RequestBody;

#[tokio::test]
async fn an_inner_service_that_is_not_ready_makes_the_layer_not_ready() {
    let pool = pool(["k0", "k1"]);
    let (mut service, mut handle): (_, Handle) = stack(&layer(&pool));
    handle.allow(0);
    assert_pending!(service.poll_ready());
    handle.allow(1);
    assert!(service.is_woken());
    assert_ready_ok!(service.poll_ready());
}

#[tokio::test]
async fn a_readiness_error_of_the_inner_service_is_returned() {
    let pool = pool(["k0", "k1"]);
    let (mut service, mut handle): (_, Handle) = stack(&layer(&pool));
    handle.send_error("closed");
    assert_eq!(
        assert_ready_err!(service.poll_ready()).to_string(),
        "closed"
    );
}

#[tokio::test]
async fn a_second_attempt_waits_until_the_inner_service_is_ready() {
    let pool = pool(["k0", "k1"]);
    let (mut service, mut handle) = stack(&layer(&pool));
    handle.allow(1);
    assert_ready_ok!(service.poll_ready());
    let mut future = task::spawn(service.call(request("one")));
    assert_pending!(future.poll());
    let (_, reply) = handle.next_request().await.unwrap();
    reply.send_response(response(429));

    assert!(future.is_woken());
    assert_pending!(future.poll());
    assert_pending!(future.poll(), "the mock panics if it is called now");
    handle.allow(1);
    assert!(future.is_woken());
    assert_pending!(future.poll());
    let (sent, reply) = handle.next_request().await.unwrap();
    assert_eq!(key_of(&sent), "k1");
    reply.send_response(response(200));
    assert_eq!(assert_ready_ok!(future.poll()).status(), 200);
}

#[tokio::test]
async fn a_readiness_error_before_a_later_attempt_is_returned_unchanged() {
    let pool = pool(["k0", "k1"]);
    let (mut service, mut handle) = stack(&layer(&pool));
    handle.allow(1);
    assert_ready_ok!(service.poll_ready());
    let mut future = task::spawn(service.call(request("one")));
    assert_pending!(future.poll());
    let (_, reply) = handle.next_request().await.unwrap();
    reply.send_response(response(429));
    assert_pending!(future.poll());
    handle.send_error("closed");
    assert_eq!(assert_ready_err!(future.poll()).to_string(), "closed");
}

#[tokio::test]
async fn the_permit_of_a_refused_attempt_is_released_before_the_next_is_made_ready() {
    let pool = pool(["k0", "k1", "k2"]);
    let (attempts, inner) = refuse_all_but("k2");
    let service = layer(&pool).layer(ConcurrencyLimit::new(inner, 1));
    let response = within_a_second(service.oneshot(request("one")))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(
        Arc::strong_count(&attempts),
        1,
        "nothing of the attempts is left"
    );
}

#[tokio::test]
async fn a_limit_above_the_layer_counts_requests_and_not_attempts() {
    let pool = pool(["k0", "k1", "k2"]);
    let (_, inner) = refuse_all_but("k2");
    let service = ConcurrencyLimit::new(layer(&pool).layer(inner), 1);
    for _ in 0..2 {
        let response = within_a_second(service.clone().oneshot(request("one"))).await;
        assert_eq!(response.unwrap().status(), 200);
    }
}

/// A service that holds the handle it returns while a call is under way.
fn refuse_all_but(
    good: &'static str,
) -> (
    Arc<()>,
    impl Service<
        Request<RequestBody<Body>>,
        Response = Response<Body>,
        Error = &'static str,
        Future: Send,
    > + Clone,
) {
    let attempts = Arc::new(());
    let held = Arc::downgrade(&attempts);
    let service = service_fn(move |request: Request<RequestBody<Body>>| {
        let held = held.upgrade();
        async move {
            let status = if key_of(&request) == good { 200 } else { 429 };
            drop(held);
            Ok(response(status))
        }
    });
    (attempts, service)
}

async fn within_a_second<T>(future: impl Future<Output = T>) -> T {
    let second = std::time::Duration::from_secs(1);
    tokio::time::timeout(second, future).await.unwrap()
}

/// Counts how often it is made ready and how often it is called, over all clones. A clone is not
/// ready because the original was.
#[derive(Default)]
struct Counting {
    counts: Arc<std::sync::Mutex<(usize, usize)>>,
    ready: bool,
}

impl Clone for Counting {
    fn clone(&self) -> Self {
        Self {
            counts: Arc::clone(&self.counts),
            ready: false,
        }
    }
}

impl Service<Request<RequestBody<Body>>> for Counting {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.counts.lock().unwrap().0 += usize::from(!self.ready);
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody<Body>>) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called without being ready"
        );
        self.counts.lock().unwrap().1 += 1;
        let status = if key_of(&request) == "k3" { 200 } else { 401 };
        std::future::ready(Ok(response(status)))
    }
}

#[tokio::test]
async fn each_attempt_takes_one_readiness_and_no_more() {
    let pool = pool(["k0", "k1", "k2", "k3"]);
    let inner = Counting::default();
    let counts = Arc::clone(&inner.counts);
    let service = layer(&pool).layer(inner);
    assert_eq!(service.oneshot(request("one")).await.unwrap().status(), 200);
    assert_eq!(*counts.lock().unwrap(), (4, 4));
}
