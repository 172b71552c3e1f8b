use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::byok_passthrough;
use super::config::Config;
use super::exchange::Exchange;
use super::future::ResponseFuture;
use super::request_body::RequestBody;
use super::response_body::ResponseBody;
use crate::BoxError;
use crate::policy::ProviderPolicy;

/// Sends a request again with the next key of a pool when the provider refuses the one it was sent
/// with.
///
/// See the [crate docs](crate).
///
/// # Clone
///
/// The inner service must be `Clone`: `call` uses the one that was made ready and, where another key
/// could follow, keeps a clone for the attempts after it, which is made ready in its turn. Clones
/// share the pool.
///
/// # Cancel safety
///
/// Dropping the future at any point leaves no judged answer unmarked, invents no mark, and holds no
/// permit of the inner service. A request that waits for a key leaves its waiter in the line, and one
/// that tries a key gives it back. A refusal of which only the head had come puts its key out for the
/// default cooldown where it would be for good: the body might have said to keep it.
pub struct KeyFailover<S, P> {
    inner: S,
    config: Arc<Config<P>>,
}

impl<S, P> KeyFailover<S, P> {
    pub(super) fn new(inner: S, config: Arc<Config<P>>) -> Self {
        Self { inner, config }
    }

    /// The inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service, mutably.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service itself.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, P, B, R> Service<Request<B>> for KeyFailover<S, P>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone,
    P: ProviderPolicy,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
    R: Body<Data = Bytes>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, P, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (head, body) = request.into_parts();
        if byok_passthrough::applies_to(&self.config, &head) {
            return byok_passthrough::call(&mut self.inner, head, body);
        }
        let mut exchange = Exchange::new(&self.config);
        let replayable = exchange.is_replayable(&head, &body);
        if exchange.take_key(replayable.is_ok()) {
            let future = exchange.first_attempt(&mut self.inner, head, body, replayable);
            return ResponseFuture::attempting(future, exchange);
        }
        if head.method != Method::CONNECT {
            if let Some(waiter) = exchange.join_queue() {
                exchange.record_for_later(&mut self.inner, &head, body, replayable);
                return ResponseFuture::waiting(waiter, exchange);
            }
        }
        // Made ready for a call that is not made: what it holds for that, others wait for.
        self.inner = self.inner.clone();
        ResponseFuture::exhausted(exchange)
    }
}

impl<S: Clone, P> Clone for KeyFailover<S, P> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            config: Arc::clone(&self.config),
        }
    }
}

impl<S: fmt::Debug, P> fmt::Debug for KeyFailover<S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config
            .debug("KeyFailover", f)
            .field("inner", &self.inner)
            .finish()
    }
}
