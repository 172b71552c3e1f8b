//! A policy of the tests' own.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode, request, response};
use tower_key_failover::policy::BodyEvidence;
use tower_key_failover::pool::{Exhausted, Key};
use tower_key_failover::{KeyFailoverLayer, KeyPool, Mark, ProviderPolicy, Verdict};

/// A name that is not parsed, and so not allocated.
pub const X_KEY: HeaderName = HeaderName::from_static("x-key");

/// Keys in `x-key`; 401 marks for good.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl ProviderPolicy for Plain {
    fn is_byok(&self, request: &request::Parts) -> bool {
        request.headers.contains_key(X_KEY)
    }

    fn inject_key(&self, request: &mut request::Parts, key: &Key) {
        request.headers.insert(X_KEY, key.header_value());
    }

    fn classify(&self, response: &response::Parts) -> Verdict {
        match response.status {
            StatusCode::UNAUTHORIZED => Verdict::Failover(Mark::permanent()),
            _ => Verdict::Forward,
        }
    }

    fn classify_body(&self, _: &response::Parts, _: &BodyEvidence<'_>) -> Verdict {
        Verdict::Forward
    }

    fn exhausted_response(&self, _: &Exhausted) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    }
}

pub fn layer<const N: usize>(keys: [&'static str; N]) -> KeyFailoverLayer<Plain> {
    KeyFailoverLayer::new(Plain, Arc::new(KeyPool::new(keys).unwrap()))
}

/// Whether the request's key is refused: all but `good` are, and no key at all is not.
pub fn is_refused<B>(request: &Request<B>) -> bool {
    request
        .headers()
        .get("x-key")
        .is_some_and(|key| key != "good")
}
