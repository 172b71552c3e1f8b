//! A small policy of the tests' own.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Response, request, response};
use tower_key_failover::policy::{BodyEvidence, ReadLimit, Scope, Success};
use tower_key_failover::pool::{Exhausted, ExhaustedKind, Key, KeyChoice};
use tower_key_failover::{Mark, ProviderPolicy, Verdict};

/// The header that carries the key. A constant name is not parsed, so it allocates nothing.
pub const X_KEY: HeaderName = HeaderName::from_static("x-key");

/// A policy with keys in `x-key`. A 429 with `retry-after` in whole seconds is a rate limit; 401 and
/// 403 mark the key permanently. The response header `x-say` overrides the status:
///
/// - `keep`: fail over and leave the key unchanged.
/// - `inspect`: read the body. It refuses the key if it contains `refuse`, and fails over without a
///   mark if it contains `keep`.
/// - `inspect, status`: read the body, and then let the status decide.
/// - `peek`: the same as `inspect` with what arrives within [`peek_timeout`](Self::peek_timeout).
///
/// The response header `x-in-scope` limits the mark of a 429 and of `keep` to the request's scope.
#[derive(Clone, Copy, Debug, Default)]
pub struct TestPolicy {
    pub peek_timeout: Duration,
}

impl ProviderPolicy for TestPolicy {
    fn is_byok(&self, request: &request::Parts) -> bool {
        request.headers.contains_key(X_KEY)
    }

    fn inject_key(&self, request: &mut request::Parts, key: &Key) {
        let replaced = request.headers.insert(X_KEY, key.header_value());
        assert!(
            replaced.is_none(),
            "an earlier attempt's key was still there"
        );
    }

    fn scope(&self, request: &request::Parts) -> Option<Scope> {
        request.extensions.get::<KeyChoice>()?.scope_ref().cloned()
    }

    fn classify(&self, response: &response::Parts) -> Verdict {
        let header = |name| response.headers.get(name)?.to_str().ok();
        match (header("x-say"), response.status.as_u16()) {
            (Some("inspect" | "inspect, status"), _) => Verdict::Read(ReadLimit::refusal()),
            (Some("peek"), _) => Verdict::Read(ReadLimit::first_frame(self.peek_timeout)),
            (Some("keep"), _) => Verdict::Failover(limited_to_scope(Mark::keep(), response)),
            _ if response.headers.contains_key("x-may-fail-late") => {
                Verdict::Read(ReadLimit::commit_gate())
            }
            _ => by_status(response),
        }
    }

    fn classify_body(&self, response: &response::Parts, body: &BodyEvidence<'_>) -> Verdict {
        if response
            .headers
            .get("x-say")
            .is_some_and(|say| say == "inspect, status")
        {
            return by_status(response);
        }
        let grpc_status = body
            .trailers()
            .and_then(|trailers| trailers.get("grpc-status"));
        let says = |text: &str| {
            let bytes = match body {
                BodyEvidence::Complete { bytes, .. } | BodyEvidence::Partial { bytes, .. } => bytes,
                _ => &[][..],
            };
            let found = bytes.windows(text.len()).any(|at| at == text.as_bytes());
            found || grpc_status.is_some_and(|status| status == text)
        };
        if says("refuse") {
            Verdict::Failover(Mark::permanent())
        } else if says("keep") {
            Verdict::Failover(Mark::keep())
        } else {
            Verdict::Forward
        }
    }

    fn success(&self, response: &response::Parts) -> Success {
        Success::of_status(response.status)
    }

    fn success_in_body(&self, _: &response::Parts, _: &BodyEvidence<'_>) -> bool {
        false
    }

    fn exhausted_response(&self, exhausted: &Exhausted) -> Response<Bytes> {
        let status = match exhausted.kind {
            ExhaustedKind::RateLimited => 429,
            _ => 502,
        };
        let mut response = Response::builder().status(status);
        if let Some(wait) = exhausted.retry_after {
            response = response.header("retry-after", wait.as_secs_f64().ceil().to_string());
        }
        response.body(exhausted.to_string().into()).unwrap()
    }
}

fn by_status(response: &response::Parts) -> Verdict {
    match response.status.as_u16() {
        429 => {
            let header = response.headers.get("retry-after");
            let seconds = header.and_then(|value| value.to_str().ok()?.parse().ok());
            let mark = Mark::temporary(seconds.map(Duration::from_secs));
            Verdict::Failover(limited_to_scope(mark, response))
        }
        401 | 403 => Verdict::Failover(Mark::permanent()),
        _ => Verdict::Forward,
    }
}

fn limited_to_scope(mark: Mark, response: &response::Parts) -> Mark {
    if response.headers.contains_key("x-in-scope") {
        mark.in_scope()
    } else {
        mark
    }
}
