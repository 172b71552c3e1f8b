//! How often the layer allocates, on each path that a request can take.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::support::{is_refused, layer};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use test_support::policy::TestPolicy;
use tower::{Layer, Service};
use tower_key_failover::pool::{KeyChoice, Scope};
use tower_key_failover::{KeyFailoverLayer, KeyPool};

/// A provider that reads each request at once, and allocates nothing.
#[derive(Clone, Copy, Debug)]
struct Provider;

impl<B> Service<Request<B>> for Provider
where
    B: Body<Data = Bytes, Error: std::fmt::Debug> + Unpin,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let is_refused = is_refused(&request);
        let (mut body, mut read) = (request.into_body(), 0);
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut cx) {
            read += frame.unwrap().data_ref().unwrap().len();
        }
        assert_eq!(read, "hello".len());
        let mut response = Response::new(Full::from("answer"));
        if is_refused {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        ready(Ok(response))
    }
}

/// A request as a proxy gets it, with room for one more header. Each name that `http` does not know
/// would cost a further attempt one allocation more.
fn request() -> Request<Full<Bytes>> {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("accept", HeaderValue::from_static("*/*"));
    let mut request = Request::new(Full::from("hello"));
    *request.uri_mut() = http::Uri::from_static("http://upstream.test/v1/messages");
    *request.headers_mut() = headers;
    request
}

/// How many allocations one accepted request costs.
fn count<S, R>(mut service: S, request: Request<Full<Bytes>>) -> u64
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>, Error = Infallible>,
{
    // The first look at any pool's list allocates once for its thread.
    KeyPool::new(["any"]).unwrap().len();
    let measured = allocation_counter::measure(|| {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_ready());
        let response = pin!(service.call(request)).poll(&mut cx);
        assert!(
            matches!(response, Poll::Ready(Ok(response)) if response.status() == StatusCode::OK)
        );
    });
    assert!(measured.count_current <= 0, "something is still held");
    measured.count_total
}

fn through(layer: &KeyFailoverLayer<TestPolicy>) -> u64 {
    count(layer.layer(Provider), request())
}

#[test]
fn without_the_layer_nothing_is_allocated() {
    assert_eq!(count(Provider, request()), 0);
}

#[test]
fn a_disabled_layer_allocates_nothing() {
    assert_eq!(
        through(&KeyFailoverLayer::disabled(TestPolicy::default())),
        0
    );
}

#[test]
fn a_request_with_its_own_key_allocates_nothing() {
    let mut request = request();
    request
        .headers_mut()
        .insert("x-key", HeaderValue::from_static("good"));
    let service = layer(["k0", "k1"]).layer(Provider);
    assert_eq!(count(service, request), 0);
}

#[test]
fn a_pool_of_one_key_allocates_nothing() {
    assert_eq!(through(&layer(["good"])), 0);
}

#[test]
fn the_last_usable_key_allocates_nothing() {
    let pool = Arc::new(KeyPool::new(["k0", "good"]).unwrap());
    pool.walker().next_key().unwrap().mark_permanent();
    assert_eq!(
        through(&KeyFailoverLayer::new(TestPolicy::default(), pool)),
        0
    );
}

#[test]
fn a_key_with_possible_successors_costs_two_allocations() {
    assert_eq!(through(&layer(["good", "k1"])), 2);
}

#[test]
fn a_scope_without_marks_allocates_nothing_for_the_picks() {
    let with = |choice: KeyChoice, keys: &[&'static str]| {
        let mut request = request();
        request.extensions_mut().insert(choice);
        let pool = KeyPool::new(keys.iter().copied()).unwrap();
        let layer = KeyFailoverLayer::new(TestPolicy::default(), pool);
        count(layer.layer(Provider), request)
    };
    let scoped = KeyChoice::new().scope(Scope::new("model").unwrap());
    for keys in [
        &["good"][..],
        &["good", "k1"],
        &["k0", "good"],
        &["k0", "k1", "good"],
    ] {
        let (without, with) = (with(KeyChoice::new(), keys), with(scoped.clone(), keys));
        assert_eq!(with, without, "{keys:?}");
    }
}

// The report of a refusal is allocated.
#[cfg(not(any(feature = "metrics", feature = "tracing")))]
#[test]
fn each_further_attempt_costs_four_allocations_at_most() {
    // `FailoverInfo` is the first extension of the response.
    const FIRST_EXTENSION: u64 = 3;

    let counts = [
        through(&layer(["k0", "good", "k5"])),
        through(&layer(["k0", "k1", "good", "k5"])),
        through(&layer(["k0", "k1", "k2", "good", "k5"])),
        through(&layer(["k0", "k1", "k2", "good"])),
    ];
    println!("{counts:?}");
    for (count, further) in counts.into_iter().zip([1, 2, 3, 3]) {
        assert!(count <= 2 + 4 * further + FIRST_EXTENSION, "{counts:?}");
    }
}
