//! The layer over a mock service whose responses the test gives.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::Layer;
use tower_key_failover::{KeyFailover, KeyFailoverLayer, KeyPool, ProviderPolicy, RequestBody};
use tower_test::mock::{self, Mock};

use crate::policy::TestPolicy;

pub type Body = Full<Bytes>;
pub type Inner<B = Body, R = Body> = Mock<Request<RequestBody<B>>, Response<R>>;
pub type Handle<B = Body, R = Body> = mock::Handle<Request<RequestBody<B>>, Response<R>>;
pub type Service<P = TestPolicy, B = Body, R = Body> = KeyFailover<Inner<B, R>, P>;
pub type Stack<P = TestPolicy, B = Body, R = Body> = (mock::Spawn<Service<P, B, R>>, Handle<B, R>);

pub fn pool<const N: usize>(keys: [&'static str; N]) -> Arc<KeyPool> {
    Arc::new(KeyPool::new(keys).unwrap())
}

pub fn layer(pool: &Arc<KeyPool>) -> KeyFailoverLayer<TestPolicy> {
    KeyFailoverLayer::new(TestPolicy::default(), Arc::clone(pool))
}

/// The layer over a mock.
pub fn stack<P, B, R>(layer: &KeyFailoverLayer<P>) -> Stack<P, B, R>
where
    P: ProviderPolicy,
{
    let (inner, handle) = mock::pair();
    (mock::Spawn::new(layer.layer(inner)), handle)
}

pub fn request(body: &'static str) -> Request<Body> {
    Request::post("http://upstream.test/v1/messages")
        .body(Full::from(body))
        .unwrap()
}

pub fn response(status: u16) -> Response<Body> {
    response_with(status, &[], "")
}

pub fn response_with(
    status: u16,
    headers: &[(&'static str, &'static str)],
    body: &'static str,
) -> Response<Body> {
    let response = Response::builder().status(status);
    let response = headers.iter().fold(response, |response, (name, value)| {
        response.header(*name, *value)
    });
    response.body(Full::from(body)).unwrap()
}

pub fn key_of<B>(request: &Request<B>) -> &str {
    request.headers()["x-key"].to_str().unwrap()
}
