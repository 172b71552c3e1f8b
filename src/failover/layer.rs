use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use http::request;
use tower_layer::Layer;

use super::config::Config;
use super::service::KeyFailover;
use crate::policy::{ProviderPolicy, ReadLimit};
use crate::pool::KeyPool;
use crate::replay::ReplayBudget;

/// Layer that applies the [`KeyFailover`] middleware, which sends a refused request again with the
/// next key of a pool.
///
/// See the [crate docs](crate) for what each response does, and the [stacks guide](crate::guides::stacks) for
/// its place among other layers.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "providers")] {
/// use std::time::Duration;
///
/// use http::{HeaderName, Request, Response};
/// use http_body_util::Empty;
/// use tower::ServiceBuilder;
/// use tower_key_failover::policy::Provider;
/// use tower_key_failover::{KeyFailoverLayer, KeyPool, RequestBody};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = KeyPool::new(["first-key", "second-key"])?;
/// let policy = Provider::header(HeaderName::from_static("x-token"));
///
/// let service = ServiceBuilder::new()
///     .layer(
///         KeyFailoverLayer::new(policy, pool)
///             .max_attempts(2)
///             .wait_for_key(Duration::from_secs(5)),
///     )
///     .service_fn(|request: Request<RequestBody<Empty<bytes::Bytes>>>| async move {
///         assert_eq!(request.headers()["x-token"], "first-key");
///         Ok::<_, std::convert::Infallible>(Response::new(Empty::<bytes::Bytes>::new()))
///     });
/// # use tower::ServiceExt;
/// # let request = Request::new(Empty::new());
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # let response = runtime.block_on(service.oneshot(request))?;
/// # assert_eq!(response.status(), 200);
/// # Ok(())
/// # }
/// # main().unwrap();
/// # }
/// ```
pub struct KeyFailoverLayer<P> {
    config: Config<P>,
}

impl<P> KeyFailoverLayer<P> {
    /// Creates a layer that injects the keys of `pool` and judges responses with `policy`.
    ///
    /// `pool` is a [`KeyPool`], or an `Arc<KeyPool>` if the caller keeps a handle, for example to take
    /// snapshots or to replace keys.
    pub fn new(policy: P, pool: impl Into<Arc<KeyPool>>) -> Self
    where
        P: ProviderPolicy,
    {
        let config = Config::new(policy, Some(pool.into()));
        Self { config }
    }

    /// Creates a layer without keys, which sends every request once and unchanged.
    ///
    /// Use it if a setting decides at run time whether there are keys. Both layers have the same type.
    pub fn disabled(policy: P) -> Self
    where
        P: ProviderPolicy,
    {
        let config = Config::new(policy, None);
        Self { config }
    }

    /// Sets the size of the largest request body that can be sent again, in bytes. The default is
    /// 32 MiB.
    ///
    /// A larger body is sent once. If its key is refused, no other key is tried. A body of exactly
    /// this size can be sent again.
    #[must_use]
    pub fn max_replay_bytes(mut self, bytes: usize) -> Self {
        self.config.max_replay_bytes = bytes;
        self
    }

    /// Limits the memory that the recorded bodies of all requests hold together. Layers can share a
    /// budget. The default is 1 GiB for this layer alone.
    #[must_use]
    pub fn replay_budget(mut self, budget: ReplayBudget) -> Self {
        self.config.replay_budget = budget;
        self
    }

    /// Limits how many attempts a request makes. By default, it makes as many attempts as there are
    /// keys, or twice as many if it may [wait](Self::wait_for_key).
    ///
    /// Keys that have not refused the request come first. A key that refused it with a rate limit can be
    /// tried again once that cooldown has ended. A key that refused it in any other way is not tried
    /// again.
    ///
    /// # Panics
    ///
    /// Panics if `attempts` is 0. To send requests without keys, use [`disabled`](Self::disabled).
    #[must_use]
    #[track_caller]
    pub fn max_attempts(mut self, attempts: usize) -> Self {
        let attempts = NonZeroUsize::new(attempts);
        assert!(attempts.is_some(), "`max_attempts` must be at least 1");
        self.config.max_attempts = attempts;
        self
    }

    /// Holds a stream of server-sent events back until its first event can be judged. By default, a
    /// stream is forwarded at once.
    ///
    /// Some providers start a stream with 200 and report in its first event that the key is refused.
    /// The stream is held back for at most `time` and at most `bytes`, which is capped at 64 KiB. The
    /// layer then forwards the complete stream or sends the request again. Once the caller has received
    /// something, no other key is tried.
    ///
    /// This applies to streams for which the policy returns
    /// [`ReadLimit::commit_gate`](crate::policy::ReadLimit::commit_gate) and that are not compressed.
    ///
    /// # Panics
    ///
    /// A request panics if its stream is held back outside a tokio runtime with time enabled.
    #[must_use]
    pub fn commit_gate(mut self, bytes: usize, time: Duration) -> Self {
        self.config.commit_gate = Some(ReadLimit::first_event(bytes, time));
        self
    }

    /// Sets whether every request carries an [`Attempt`](crate::Attempt) in its extensions, and every
    /// response a [`FailoverInfo`](crate::FailoverInfo). The default is `false`.
    ///
    /// The bodies carry both in any case. The first extension of a message costs three allocations.
    #[must_use]
    pub fn extensions(mut self, always: bool) -> Self {
        self.config.extensions = always;
        self
    }

    /// Sets whether the duration of each attempt is measured. The default is `false`.
    ///
    /// [`AttemptRecord::elapsed`](crate::AttemptRecord::elapsed) returns it, and the feature `metrics`
    /// records it for refused attempts. Measuring reads the clock twice per attempt.
    #[must_use]
    pub fn timings(mut self, take: bool) -> Self {
        self.config.timings = take;
        self
    }

    /// Keeps the requests of a session with the same key, as long as it is usable. By default, requests
    /// have no session.
    ///
    /// `session` returns a number that is the same for all requests of a session, such as
    /// [`session_id`](crate::pool::session_id) of a header, or `None`. It sees the head before a key is
    /// injected, once per request. A [`KeyChoice`](crate::pool::KeyChoice) that names a session
    /// takes precedence. The guide to [selection](crate::guides::selection#affinity) says when affinity
    /// helps.
    ///
    /// ```
    /// # #[cfg(feature = "providers")] {
    /// use tower_key_failover::policy::Provider;
    /// use tower_key_failover::pool::session_id;
    /// use tower_key_failover::{KeyFailoverLayer, KeyPool};
    ///
    /// # let pool = KeyPool::new(["first-key", "second-key"]).unwrap();
    /// let layer = KeyFailoverLayer::new(Provider::anthropic(), pool)
    ///     .affinity(|head| head.headers.get("x-session").map(session_id));
    /// # }
    /// ```
    #[must_use]
    pub fn affinity<F>(mut self, session: F) -> Self
    where
        F: Fn(&request::Parts) -> Option<u64> + Send + Sync + 'static,
    {
        self.config.affinity = Some(Arc::new(session));
        self
    }

    /// Lets a request wait for a key if none is usable, for at most `time` in total. By default, the
    /// caller gets a response at once.
    ///
    /// A request waits only if a key returns within that time, or if keys are at their
    /// [caps](crate::pool::NewKey::max_in_flight). Requests are served in order of arrival, and new
    /// requests never jump ahead of waiting ones. A key that has just returned
    /// [admits](crate::guides::recovery#reopening) few requests at first. A key that refused a request
    /// without being marked is not offered to that request again, and stays usable for the others.
    /// [`max_waiters`](crate::pool::KeyPoolBuilder::max_waiters) limits how many requests wait.
    ///
    /// The request body is recorded even if the pool has a single key, since the same key can be tried
    /// again.
    ///
    /// While a request waits, it holds no permit of the inner service.
    ///
    /// # Cancel safety
    ///
    /// A request that is dropped while it waits leaves the queue. If a request is dropped while it
    /// probes a key, the next request can probe the key.
    ///
    /// # Panics
    ///
    /// A request panics if it waits outside a tokio runtime with time enabled.
    #[must_use]
    pub fn wait_for_key(mut self, time: Duration) -> Self {
        self.config.wait_for_key = Some(time);
        self
    }
}

// `Clone` is required here and not only to call the service, so that the compiler names it.
impl<S: Clone, P> Layer<S> for KeyFailoverLayer<P> {
    type Service = KeyFailover<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        KeyFailover::new(inner, Arc::new(self.config.clone()))
    }
}

impl<P> Clone for KeyFailoverLayer<P> {
    fn clone(&self) -> Self {
        Self {
            config: self.config.clone(),
        }
    }
}

impl<P> fmt::Debug for KeyFailoverLayer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.config.debug("KeyFailoverLayer", f).finish()
    }
}
