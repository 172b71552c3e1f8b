//! A request body that is not `Unpin`.
//!
//! Expected: cannot be unpinned

use bytes::Bytes;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tower::ServiceBuilder;
use tower_http::timeout::TimeoutBody;
use tower_key_failover::policy::Provider;
use tower_key_failover::{KeyFailoverLayer, RequestBody};

type Body = TimeoutBody<http_body_util::Full<Bytes>>;

pub fn stack(
    failover: KeyFailoverLayer<Provider>,
    client: Client<HttpConnector, RequestBody<Body>>,
) {
    let service = ServiceBuilder::new().layer(failover).service(client);
    service.check::<Body>();
}

fn main() {}
