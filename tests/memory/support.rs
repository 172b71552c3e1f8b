//! A layer over keys of which only one is good.

use std::sync::Arc;

use http::Request;
use test_support::policy::{TestPolicy, X_KEY};
use tower_key_failover::{KeyFailoverLayer, KeyPool};

pub fn layer<const N: usize>(keys: [&'static str; N]) -> KeyFailoverLayer<TestPolicy> {
    let pool = Arc::new(KeyPool::new(keys).unwrap());
    KeyFailoverLayer::new(TestPolicy::default(), pool)
}

/// Whether the request's key is refused: every key but `good` is. A request without a key is served.
pub fn is_refused<B>(request: &Request<B>) -> bool {
    let key = request.headers().get(X_KEY);
    key.is_some_and(|key| key != "good")
}
