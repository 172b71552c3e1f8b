//! An inner service for the caller's body, with a layer above, passed to a function that requires a
//! service.
//!
//! Expected: Client<HttpConnector, Full<Bytes>>: Service<Request<RequestBody<
//! Expected: to implement `Service<

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tower::{Service, ServiceBuilder};
use tower_key_failover::KeyFailoverLayer;
use tower_key_failover::policy::Provider;

type Body = Full<Bytes>;

fn serve<S: Service<Request<Body>>>(_: S) {}

pub fn stack(failover: KeyFailoverLayer<Provider>, client: Client<HttpConnector, Body>) {
    let service = ServiceBuilder::new()
        .concurrency_limit(100)
        .layer(failover)
        .service(client);
    serve(service);
}

fn main() {}
