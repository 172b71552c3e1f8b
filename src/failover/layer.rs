use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tower_layer::Layer;

use super::config::Config;
use super::service::KeyFailover;
use crate::inspect::ReadLimit;
use crate::pool::KeyPool;
use crate::replay::ReplayBudget;

/// Sends a request again with the next key of a pool when the provider refuses the one it was sent
/// with.
///
/// See the [crate docs](crate) for what happens when, and for examples.
pub struct KeyFailoverLayer<P> {
    config: Config<P>,
}

impl<P> KeyFailoverLayer<P> {
    /// Speaks the provider's dialect `policy`, with the keys of `pool`.
    pub fn new(policy: P, pool: Arc<KeyPool>) -> Self {
        let config = Config::new(policy, Some(pool));
        Self { config }
    }

    /// A layer without keys: every request passes untouched.
    ///
    /// For services that are configured at run time and want one type for both cases.
    pub fn disabled(policy: P) -> Self {
        let config = Config::new(policy, None);
        Self { config }
    }

    /// The largest request body that can be sent again, in bytes. Default: 32 MiB.
    ///
    /// A larger one streams through once: when its key is refused, no other is tried. A body of
    /// exactly this size can be sent again.
    #[must_use]
    pub fn max_replay_bytes(mut self, bytes: usize) -> Self {
        self.config.max_replay_bytes = bytes;
        self
    }

    /// A bound on what all requests together hold for replay, which other layers may share.
    /// Default: 1 GiB for this layer alone.
    #[must_use]
    pub fn replay_budget(mut self, budget: ReplayBudget) -> Self {
        self.config.replay_budget = budget;
        self
    }

    /// How many attempts one request makes at most. Default: each usable key once.
    #[must_use]
    pub fn max_attempts(mut self, attempts: NonZeroUsize) -> Self {
        self.config.max_attempts = Some(attempts);
        self
    }

    /// Holds a stream of server-sent events back until its first event can be judged, for at most
    /// `bytes` (and never more than 64 KiB) and `time`. Default: a stream is handed over at once.
    ///
    /// Some providers begin a stream with 200 and then say, as its first event, that the key is
    /// out. Only streams that the policy names
    /// ([`ProviderPolicy::may_fail_late`](crate::ProviderPolicy::may_fail_late)) and that are not
    /// compressed are held back; what was read is handed over whole. Once anything has gone to the
    /// caller no other key is tried.
    ///
    /// # Panics
    ///
    /// A request whose stream is held back outside a tokio runtime with time enabled.
    #[must_use]
    pub fn commit_gate(mut self, bytes: usize, time: Duration) -> Self {
        self.config.commit_gate = Some(ReadLimit::FirstEvent { bytes, time });
        self
    }

    /// Whether each attempt's request carries an [`Attempt`](crate::Attempt) in its extensions, and
    /// each answer a [`FailoverInfo`](crate::FailoverInfo), even when nothing happened. Default:
    /// `false`, since the first extension of a message costs three allocations. The bodies carry
    /// both in any case.
    #[must_use]
    pub fn extensions(mut self, always: bool) -> Self {
        self.config.extensions = always;
        self
    }

    /// Whether the time that each attempt takes is measured, for
    /// [`AttemptRecord::elapsed`](crate::AttemptRecord::elapsed), and with the feature `metrics` for the time
    /// lost to refused attempts. Default: `false`, since it takes two readings of the clock for each
    /// attempt.
    #[must_use]
    pub fn timings(mut self, take: bool) -> Self {
        self.config.timings = take;
        self
    }

    /// Lets a request wait for a key to return, for at most `time` in all, when every key is out and
    /// the soonest returns within that. Default: it is told at once that no key is left.
    ///
    /// The inner service that was ready is let go meanwhile, and made ready again after. Requests
    /// are admitted in order of arrival, and to a key that has just returned one at a time, until one
    /// has succeeded; who comes then does not overtake those who wait. A request that a key refused
    /// without being marked leaves that key out, and holds up nobody who can use it.
    /// [`max_waiters`](crate::pool::KeyPoolBuilder::max_waiters) bounds how many wait. After a wait
    /// all keys may be tried again, so that a request makes at most `max_attempts`, or twice as many
    /// attempts as there are keys where that is not set.
    ///
    /// The request's body is recorded even where only one key is there, since the request may be
    /// sent again with it.
    ///
    /// # Cancel safety
    ///
    /// A request that is dropped while it waits leaves its place to the next, and one that tries a key
    /// gives it back.
    ///
    /// # Panics
    ///
    /// A request that waits outside a tokio runtime with time enabled.
    #[must_use]
    pub fn wait_for_key(mut self, time: Duration) -> Self {
        self.config.wait_for_key = Some(time);
        self
    }

    /// Takes `keys` refusals for good in a row, all alike, for the fault of something else than the
    /// keys: of the request, of a proxy on the way, or of the provider. Default: each refusal counts.
    ///
    /// A key that is refused for good is put out for the default cooldown at first, and for good once
    /// another key has answered *the same request* otherwise. After `keys` that refused it alike
    /// (with the same status and for the same reason) no other is tried, and the caller is told that
    /// no key is left.
    #[must_use]
    pub fn common_cause(mut self, keys: NonZeroUsize) -> Self {
        self.config.common_cause = Some(keys);
        self
    }
}

impl<S, P> Layer<S> for KeyFailoverLayer<P> {
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
