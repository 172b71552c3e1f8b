//! A closure for the caller's body instead of `RequestBody`.
//!
//! Expected: type mismatch in closure arguments
//! Expected: Request<RequestBody<Full<_>>>

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::ServiceBuilder;
use tower_key_failover::KeyFailoverLayer;
use tower_key_failover::policy::Provider;

type Body = Full<Bytes>;

pub fn stack(failover: KeyFailoverLayer<Provider>) {
    let service = ServiceBuilder::new()
        .layer(failover)
        .service_fn(|_: Request<Body>| async {
            Ok::<_, Infallible>(Response::new(Body::default()))
        });
    service.check::<Body>();
}

fn main() {}
