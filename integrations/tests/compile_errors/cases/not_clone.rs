//! An inner service that is not `Clone`.
//!
//! Expected: the trait bound `Connection: Clone` is not satisfied

use std::convert::Infallible;
use std::future::Ready;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Service, ServiceBuilder};
use tower_key_failover::policy::Provider;
use tower_key_failover::{KeyFailoverLayer, RequestBody};

type Body = Full<Bytes>;

struct Connection;

impl Service<Request<RequestBody<Body>>> for Connection {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<RequestBody<Body>>) -> Self::Future {
        std::future::ready(Ok(Response::default()))
    }
}

pub fn stack(failover: KeyFailoverLayer<Provider>) {
    let _ = ServiceBuilder::new().layer(failover).service(Connection);
}

fn main() {}
