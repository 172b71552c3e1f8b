//! reqwest without an adapter.
//!
//! Expected: the trait bound `Client: Service<Request<RequestBody<

use bytes::Bytes;
use http_body_util::Full;
use tower::ServiceBuilder;
use tower_key_failover::KeyFailoverLayer;
use tower_key_failover::policy::Provider;

pub fn stack(failover: KeyFailoverLayer<Provider>, client: reqwest::Client) {
    let service = ServiceBuilder::new().layer(failover).service(client);
    service.check::<Full<Bytes>>();
}

fn main() {}
