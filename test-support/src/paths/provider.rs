use std::convert::Infallible;
use std::fmt::Debug;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode, request, response};
use http_body::Body;
use http_body_util::Full;
use tower::Service;
use tower_key_failover::policy::{BodyEvidence, Scope, Success};
use tower_key_failover::pool::{Exhausted, Key};
use tower_key_failover::{Mark, ProviderPolicy, Verdict};

/// A name that is not parsed, and so not allocated.
pub const X_KEY: HeaderName = HeaderName::from_static("x-key");

/// Reads each request at once, refuses any key that begins with `key-`, and allocates nothing.
#[derive(Clone, Copy, Debug)]
pub struct Provider;

impl<B> Service<Request<B>> for Provider
where
    B: Body<Data = Bytes, Error: Debug> + Unpin,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let key = request.headers().get(&X_KEY);
        let is_refused = key.is_some_and(|key| key.as_bytes().starts_with(b"key-"));
        let mut body = request.into_body();
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut cx) {
            drop(frame.unwrap());
        }
        let mut response = Response::new(Full::from("answer"));
        if is_refused {
            *response.status_mut() = StatusCode::UNAUTHORIZED;
        }
        ready(Ok(response))
    }
}

/// The least that a policy does: keys in `x-key`, and 401 puts one out.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl ProviderPolicy for Plain {
    fn is_byok(&self, request: &request::Parts) -> bool {
        request.headers.contains_key(&X_KEY)
    }

    fn inject_key(&self, request: &mut request::Parts, key: &Key) {
        request.headers.insert(X_KEY, key.header_value());
    }

    fn scope(&self, _: &request::Parts) -> Option<Scope> {
        None
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

    fn success(&self, response: &response::Parts) -> Success {
        Success::of_status(response.status)
    }

    fn success_in_body(&self, _: &response::Parts, _: &BodyEvidence<'_>) -> bool {
        false
    }

    fn exhausted_response(&self, _: &Exhausted) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    }
}
