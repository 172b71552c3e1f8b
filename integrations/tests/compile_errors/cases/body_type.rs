//! An inner service for the caller's body instead of `RequestBody`.
//!
//! Expected: Client<HttpConnector, Full<Bytes>>: Service<Request<RequestBody<
//! Expected: the method `oneshot` exists for struct `KeyFailover<
//! Expected: `Clone`, and a `Service<Request<RequestBody<B>>>` if requests

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tower::{ServiceBuilder, ServiceExt};
use tower_key_failover::KeyFailoverLayer;
use tower_key_failover::policy::Provider;

type Body = Full<Bytes>;

pub fn checked(failover: KeyFailoverLayer<Provider>, client: Client<HttpConnector, Body>) {
    let service = ServiceBuilder::new().layer(failover).service(client);
    service.check::<Body>();
}

pub async fn called(failover: KeyFailoverLayer<Provider>, client: Client<HttpConnector, Body>) {
    let service = ServiceBuilder::new().layer(failover).service(client);
    let _ = service.oneshot(Request::new(Body::default())).await;
}

fn main() {}
