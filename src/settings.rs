use std::fmt;
use std::sync::Arc;

use crate::body::{Reach, ReplayBudget};
use crate::pool::KeyPool;

/// What a layer is set to; its services and their futures share it.
pub(crate) struct Settings<P> {
    pub(crate) policy: Arc<P>,
    /// `None`: the inner service is used as it is.
    pub(crate) pool: Option<Arc<KeyPool>>,
    pub(crate) max_attempts: usize,
    pub(crate) max_replay_bytes: usize,
    pub(crate) replay_budget: ReplayBudget,
    /// How far a stream that may fail late is read before it is handed over.
    pub(crate) commit_gate: Option<Reach>,
    pub(crate) extensions: bool,
}

impl<P> Settings<P> {
    const MAX_REPLAY_BYTES: usize = 32 << 20;
    const REPLAY_BUDGET: usize = 1 << 30;

    pub(crate) fn new(policy: P, pool: Option<Arc<KeyPool>>) -> Self {
        Self {
            policy: Arc::new(policy),
            pool,
            max_attempts: usize::MAX,
            max_replay_bytes: Self::MAX_REPLAY_BYTES,
            replay_budget: ReplayBudget::new(Self::REPLAY_BUDGET),
            commit_gate: None,
            extensions: false,
        }
    }

    pub(crate) fn debug<'a, 'b>(
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
            .field("extensions", &self.extensions);
        debug
    }
}

impl<P> Clone for Settings<P> {
    fn clone(&self) -> Self {
        Self {
            policy: Arc::clone(&self.policy),
            pool: self.pool.clone(),
            max_attempts: self.max_attempts,
            max_replay_bytes: self.max_replay_bytes,
            replay_budget: self.replay_budget.clone(),
            commit_gate: self.commit_gate,
            extensions: self.extensions,
        }
    }
}
