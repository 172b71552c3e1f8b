//! reqwest without an adapter.
//!
//! Expected: the trait bound `Client: Service<Request<RequestBody<
//! Expected: the method `oneshot` exists for struct `KeyFailover<
//! Expected: `Clone`, and a `Service<Request<RequestBody<B>>>` if requests

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::{ServiceBuilder, ServiceExt};
use tower_key_failover::KeyFailoverLayer;
use tower_key_failover::policy::Provider;

pub fn checked(failover: KeyFailoverLayer<Provider>, client: reqwest::Client) {
    let service = ServiceBuilder::new().layer(failover).service(client);
    service.check::<Full<Bytes>>();
}

pub async fn called(failover: KeyFailoverLayer<Provider>, client: reqwest::Client) {
    let service = ServiceBuilder::new().layer(failover).service(client);
    let _ = service.oneshot(Request::new(Full::<Bytes>::default())).await;
}

fn main() {}
