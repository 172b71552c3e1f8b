//! A service that cannot be called. The compiler names no cause, but quotes a line that says how to
//! find it.
//!
//! Expected: Not a `Service`? `service.check::<Body>()` names the cause.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use tower::{ServiceBuilder, ServiceExt};
use tower_key_failover::KeyFailoverLayer;
use tower_key_failover::policy::Provider;

type Body = Full<Bytes>;

pub async fn stack(
    failover: KeyFailoverLayer<Provider>,
    client: Client<HttpConnector, Body>,
    request: Request<Body>,
) {
    let service = ServiceBuilder::new().layer(failover).service(client);
    let _ = service.oneshot(request).await;
}

fn main() {}
