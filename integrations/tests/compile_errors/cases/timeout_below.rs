//! `tower_http`'s timeout below the layer, with a response body that is not `Default`.
//!
//! Expected: the trait bound `Incoming: Default` is not satisfied

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::Full;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tower::ServiceBuilder;
use tower_http::timeout::TimeoutLayer;
use tower_key_failover::policy::Provider;
use tower_key_failover::{KeyFailoverLayer, RequestBody};

type Body = Full<Bytes>;

pub fn stack(
    failover: KeyFailoverLayer<Provider>,
    client: Client<HttpConnector, RequestBody<Body>>,
) {
    let seconds = Duration::from_secs(30);
    let service = ServiceBuilder::new()
        .layer(failover)
        .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, seconds))
        .service(client);
    service.check::<Body>();
}

fn main() {}
