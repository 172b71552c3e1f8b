//! An inner service for the caller's body, and a call without `tower::ServiceExt`.
//!
//! Expected: the method `call` exists for struct `KeyFailover<
//! Expected: Client<HttpConnector, Full<Bytes>>: Service<Request<RequestBody<

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tower::{Service, ServiceBuilder};
use tower_key_failover::KeyFailoverLayer;
use tower_key_failover::policy::Provider;

type Body = Full<Bytes>;

pub async fn stack(failover: KeyFailoverLayer<Provider>, client: Client<HttpConnector, Body>) {
    let mut service = ServiceBuilder::new().layer(failover).service(client);
    let _ = service.call(Request::new(Body::default())).await;
}

fn main() {}
