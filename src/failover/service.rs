use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, request};
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
use crate::pool::KeyChoice;

/// Middleware that sends a refused request again with the next key of a pool.
///
/// [`KeyFailoverLayer`](crate::KeyFailoverLayer) creates it. See the [crate docs](crate) for what each
/// response does.
///
/// If the compiler says that this is not a `Service`, call [`check`](Self::check) to learn why.
///
/// # Clone
///
/// The inner service must be `Clone`. `call` uses the instance that is ready. If another key could
/// follow, it keeps a clone for further attempts, and makes that clone ready before each of them.
/// Clones share the pool.
///
/// # Errors
///
/// The error type is that of the inner service. A transport error is returned at once and marks no
/// key. If no key is left, the caller gets a response instead of an error.
///
/// # Cancel safety
///
/// The future can be dropped at any point. It then holds no permit of the inner service. A request
/// that waits for a key leaves the wait queue. If a request is dropped while it probes a key, the next
/// request can probe the key.
///
/// Marks that were made stay. If the future is dropped while it reads the body of a response, the
/// response is judged by the part that was read. If that is only the head, the key is not marked
/// permanently, because the body might say to keep the key. Such a response makes no key suspected.
// If the service cannot be called, the compiler quotes the next lines, with their comments.
#[rustfmt::skip]
pub struct KeyFailover<
    S, // `Clone`, and a `Service<Request<RequestBody<B>>>` if requests to this service have the body `B`
    P, // a `ProviderPolicy`
> {    // `service.check::<B>()` says which of these is missing, and why.
    inner: S,
    config: Arc<Config<P>>,
}

impl<S, P> KeyFailover<S, P> {
    pub(super) fn new(inner: S, config: Arc<Config<P>>) -> Self {
        Self { inner, config }
    }

    /// Compiles only if this is a service for requests with the body `B`. It has no effect.
    ///
    /// If a method of a service cannot be called, the compiler may only say that some bounds are not
    /// satisfied. If this method cannot be called, the compiler names the bound.
    ///
    /// ```
    /// # #[cfg(feature = "providers")] {
    /// use bytes::Bytes;
    /// use http::{Request, Response};
    /// use http_body_util::Full;
    /// use tower::ServiceBuilder;
    /// use tower_key_failover::policy::Provider;
    /// use tower_key_failover::{KeyFailoverLayer, KeyPool, RequestBody};
    ///
    /// let pool = KeyPool::new(["first-key", "second-key"]).unwrap();
    /// let service = ServiceBuilder::new()
    ///     .layer(KeyFailoverLayer::new(Provider::openai(), pool))
    ///     .service_fn(|_: Request<RequestBody<Full<Bytes>>>| async {
    ///         Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::default()))
    ///     });
    ///
    /// service.check::<Full<Bytes>>();
    /// # }
    /// ```
    pub fn check<B>(&self)
    where
        Self: Service<Request<B>>,
    {
    }

    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Consumes `self` and returns the inner service.
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
        let choice = choice_of(&self.config, &head);
        let mut exchange = Exchange::new(&self.config, choice);
        let replayable = exchange.is_replayable(&head, &body);
        if exchange.take_key(replayable.is_ok()) {
            let future = exchange.first_attempt(&mut self.inner, head, body, replayable);
            return ResponseFuture::attempting(future, exchange);
        }
        if head.method != Method::CONNECT
            && let Some(waiter) = exchange.join_queue()
        {
            exchange.record_for_later(&mut self.inner, &head, body, replayable);
            return ResponseFuture::waiting(waiter, exchange);
        }
        // `poll_ready` was called, but no `call` follows. Replacing the service releases its permits.
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

/// What the request says about the choice of its key, with the scope that the policy finds and the
/// session that the layer finds.
fn choice_of<P: ProviderPolicy>(config: &Config<P>, head: &request::Parts) -> Option<KeyChoice> {
    let mut choice = KeyChoice::of(head).cloned();
    if let Some(scope) = config.policy.scope(head) {
        choice = Some(choice.unwrap_or_default().scope(scope));
    }
    if let Some(affinity) = &config.affinity
        && choice
            .as_ref()
            .is_none_or(|choice| choice.session().is_none())
        && let Some(session) = affinity(head)
    {
        choice = Some(choice.unwrap_or_default().affinity(session));
    }
    choice
}
