use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use http::request;

use crate::policy::ReadLimit;
use crate::pool::KeyPool;
use crate::replay::ReplayBudget;

/// The configuration of a layer, which its services and their futures share.
// Aligned, so that the reference count, which each request changes, has its own cache line.
#[repr(align(64))]
pub(super) struct Config<P> {
    pub(super) policy: Arc<P>,
    /// `None`: every request passes untouched.
    pub(super) pool: Option<Arc<KeyPool>>,
    /// `None`: each usable key once.
    pub(super) max_attempts: Option<NonZeroUsize>,
    pub(super) max_replay_bytes: usize,
    pub(super) replay_budget: ReplayBudget,
    /// How much of a stream is held back until its first event can be judged. `None`: nothing.
    pub(super) commit_gate: Option<ReadLimit>,
    pub(super) extensions: bool,
    pub(super) timings: bool,
    /// How long a request waits for keys in total.
    pub(super) wait_for_key: Option<Duration>,
    pub(super) affinity: Option<Arc<Affinity>>,
}

/// Finds the session of a request.
pub(super) type Affinity = dyn Fn(&request::Parts) -> Option<u64> + Send + Sync;

impl<P> Config<P> {
    const MAX_REPLAY_BYTES: usize = 32 << 20;
    const REPLAY_BUDGET: usize = 1 << 30;

    pub(super) fn new(policy: P, pool: Option<Arc<KeyPool>>) -> Self {
        Self {
            policy: Arc::new(policy),
            pool,
            max_attempts: None,
            max_replay_bytes: Self::MAX_REPLAY_BYTES,
            replay_budget: ReplayBudget::new(Self::REPLAY_BUDGET),
            commit_gate: None,
            extensions: false,
            timings: false,
            wait_for_key: None,
            affinity: None,
        }
    }

    pub(super) fn debug<'a, 'b>(
        &self,
        name: &str,
        f: &'a mut fmt::Formatter<'b>,
    ) -> fmt::DebugStruct<'a, 'b> {
        let mut debug = f.debug_struct(name);
        debug
            .field("policy", &std::any::type_name::<P>())
            .field("pool", &self.pool)
            .field("max_attempts", &self.max_attempts)
            .field("max_replay_bytes", &self.max_replay_bytes)
            .field("replay_budget", &self.replay_budget)
            .field("commit_gate", &self.commit_gate)
            .field("extensions", &self.extensions)
            .field("timings", &self.timings)
            .field("wait_for_key", &self.wait_for_key)
            .field("affinity", &self.affinity.is_some());
        debug
    }
}

impl<P> Clone for Config<P> {
    fn clone(&self) -> Self {
        Self {
            policy: Arc::clone(&self.policy),
            pool: self.pool.clone(),
            max_attempts: self.max_attempts,
            max_replay_bytes: self.max_replay_bytes,
            replay_budget: self.replay_budget.clone(),
            commit_gate: self.commit_gate,
            extensions: self.extensions,
            timings: self.timings,
            wait_for_key: self.wait_for_key,
            affinity: self.affinity.clone(),
        }
    }
}
