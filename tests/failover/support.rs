//! A policy of the tests' own, and a caller for the mock.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, request, response};
use http_body_util::Full;
use tower::Layer;
use tower_key_failover::policy::BodyEvidence;
use tower_key_failover::pool::{Exhausted, ExhaustedKind, Key};
use tower_key_failover::{
    KeyFailover, KeyFailoverLayer, KeyPool, Mark, ProviderPolicy, RequestBody, Verdict,
};
use tower_test::mock::{self, Mock};

pub type Body = Full<Bytes>;
pub type Inner<B = Body, R = Body> = Mock<Request<RequestBody<B>>, Response<R>>;
pub type Handle<B = Body, R = Body> = mock::Handle<Request<RequestBody<B>>, Response<R>>;
pub type Service<P = Plain, B = Body, R = Body> = KeyFailover<Inner<B, R>, P>;
pub type Stack<P = Plain, B = Body, R = Body> = (mock::Spawn<Service<P, B, R>>, Handle<B, R>);

/// Keys in `x-key`; 429 with `retry-after` in whole seconds, 401 and 403 as every built-in has them.
/// A `x-say` header of the answer overrules that.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain {
    pub peek_timeout: Duration,
}

impl ProviderPolicy for Plain {
    fn is_byok(&self, request: &request::Parts) -> bool {
        request.headers.contains_key("x-key")
    }

    fn inject_key(&self, request: &mut request::Parts, key: &Key) {
        let replaced = request.headers.insert("x-key", key.header_value());
        assert!(
            replaced.is_none(),
            "an earlier attempt's key was still there"
        );
    }

    fn classify(&self, response: &response::Parts) -> Verdict {
        let header = |name| response.headers.get(name)?.to_str().ok();
        match (header("x-say"), response.status.as_u16()) {
            (Some("inspect"), _) => Verdict::Inspect,
            (Some("peek"), _) => Verdict::Peek,
            (Some("keep"), _) => Verdict::Failover(Mark::keep()),
            (_, 429) => {
                let seconds = header("retry-after").and_then(|value| value.parse().ok());
                Verdict::Failover(Mark::temporary(seconds.map(Duration::from_secs)))
            }
            (_, 401 | 403) => Verdict::Failover(Mark::permanent()),
            _ => Verdict::Forward,
        }
    }

    fn classify_body(&self, _: &response::Parts, body: &BodyEvidence<'_>) -> Verdict {
        let grpc_status = body
            .trailers()
            .and_then(|trailers| trailers.get("grpc-status"));
        let says = |text: &str| {
            let found = body
                .bytes()
                .windows(text.len())
                .any(|at| at == text.as_bytes());
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

    fn peek_timeout(&self) -> Duration {
        self.peek_timeout
    }

    fn may_fail_late(&self, response: &response::Parts) -> bool {
        response.headers.contains_key("x-may-fail-late")
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

pub fn pool<const N: usize>(keys: [&'static str; N]) -> Arc<KeyPool> {
    Arc::new(KeyPool::new(keys).unwrap())
}

pub fn layer(pool: &Arc<KeyPool>) -> KeyFailoverLayer<Plain> {
    KeyFailoverLayer::new(Plain::default(), Arc::clone(pool))
}

/// The layer over a mock.
pub fn stack<P, B, R>(layer: &KeyFailoverLayer<P>) -> Stack<P, B, R>
where
    P: ProviderPolicy,
{
    let (inner, handle) = mock::pair();
    (mock::Spawn::new(layer.layer(inner)), handle)
}

pub fn request(body: &'static str) -> Request<Body> {
    Request::post("http://upstream.test/v1/messages")
        .body(Full::from(body))
        .unwrap()
}

pub fn answer(status: u16) -> Response<Body> {
    answer_with(status, &[], "")
}

pub fn answer_with(
    status: u16,
    headers: &[(&'static str, &'static str)],
    body: &'static str,
) -> Response<Body> {
    let response = Response::builder().status(status);
    let response = headers.iter().fold(response, |response, (name, value)| {
        response.header(*name, *value)
    });
    response.body(Full::from(body)).unwrap()
}

pub fn key_of<B>(request: &Request<B>) -> &str {
    request.headers()["x-key"].to_str().unwrap()
}
