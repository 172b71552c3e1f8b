//! Requests with a scope, and responses that concern it.

use http::Request;
use test_support::harness::{Harness, MockResponse};
use test_support::mock::{Body, request, response_with};
use tower_key_failover::pool::{KeyChoice, Scope};

/// A request with a scope.
pub fn of(scope: &str) -> Request<Body> {
    let mut request = request("body");
    let choice = KeyChoice::new().scope(Scope::new(scope).unwrap());
    request.extensions_mut().insert(choice);
    request
}

/// A rate limit of one scope.
pub fn limited(seconds: &'static str) -> MockResponse {
    response_with(429, &[("retry-after", seconds), ("x-in-scope", "")], "")
}

/// A refusal of one scope.
pub fn no_access() -> MockResponse {
    response_with(403, &[("x-say", "keep"), ("x-in-scope", "")], "no access")
}

/// Sends a request with a scope. Returns the keys that it uses.
pub fn keys<const N: usize>(
    provider: &mut Harness,
    scope: &str,
    responses: [MockResponse; N],
) -> Vec<String> {
    provider.run_request(of(scope), responses).0
}
