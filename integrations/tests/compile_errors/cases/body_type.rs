//! An inner service for the caller's body instead of `RequestBody`.
//!
//! Expected: Client<HttpConnector, Full<Bytes>>: Service<Request<RequestBody<

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tower::ServiceBuilder;
use tower_key_failover::KeyFailoverLayer;
use tower_key_failover::policy::Provider;

type Body = Full<Bytes>;

pub fn stack(failover: KeyFailoverLayer<Provider>, client: Client<HttpConnector, Body>) {
    let service = ServiceBuilder::new().layer(failover).service(client);
    service.check::<Body>();
}

fn main() {}
