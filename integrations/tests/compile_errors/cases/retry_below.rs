//! `tower::retry` below the layer, with a policy that clones requests.
//!
//! Expected: the trait bound `RequestBody<Full<Bytes>>: Clone` is not satisfied
//! Expected: the method `oneshot` exists for struct `KeyFailover<
//! Expected: `Clone`, and a `Service<Request<RequestBody<B>>>` if requests

use std::future::{Ready, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tower::retry::{Policy, RetryLayer};
use tower::{ServiceBuilder, ServiceExt};
use tower_key_failover::policy::Provider;
use tower_key_failover::{KeyFailoverLayer, RequestBody};

type Body = Full<Bytes>;

#[derive(Clone)]
pub struct Twice;

impl<B: Clone, R, E> Policy<Request<B>, Response<R>, E> for Twice {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<B>,
        _: &mut Result<Response<R>, E>,
    ) -> Option<Self::Future> {
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &Request<B>) -> Option<Request<B>> {
        Some(request.clone())
    }
}

pub fn checked(
    failover: KeyFailoverLayer<Provider>,
    client: Client<HttpConnector, RequestBody<Body>>,
) {
    let service = ServiceBuilder::new()
        .layer(failover)
        .layer(RetryLayer::new(Twice))
        .service(client);
    service.check::<Body>();
}

pub async fn called(
    failover: KeyFailoverLayer<Provider>,
    client: Client<HttpConnector, RequestBody<Body>>,
) {
    let service = ServiceBuilder::new()
        .layer(failover)
        .layer(RetryLayer::new(Twice))
        .service(client);
    let _ = service.oneshot(Request::new(Body::default())).await;
}

fn main() {}
