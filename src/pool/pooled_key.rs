//! One key of a pool: its secret, its names and its limits.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::clock::LazyNow;
use super::observe::{KeyName, KeySnapshot, PoolEvent, UsageCounters};
use super::reason::{Cause, Reason};
use super::secret::Secret;
use super::shared::Shared;
use super::state::{Availability, KeyState, Limit, LimitConfig, Marked, StateRef, Suspicion};

/// A key in one list of keys. Later lists share its core.
// Aligned, so that a reference count that one thread changes shares no cache line with anything that
// another thread needs.
#[derive(Clone)]
#[repr(align(64))]
pub(super) struct PooledKey {
    pub(super) core: Arc<KeyCore>,
    pub(super) label: Option<Arc<str>>,
    pub(super) group: Option<Arc<Group>>,
    pub(super) shared: Arc<Shared>,
}

/// What a key keeps across reloads.
pub(super) struct KeyCore {
    pub(super) limit: Limit,
    pub(super) secret: Secret,
    pub(super) usage: Option<Box<UsageCounters>>,
}

/// Keys of one organisation or project, which share a limit.
pub(super) struct Group {
    pub(super) name: Arc<str>,
    pub(super) limit: Limit,
}

/// The generations of a key's limits when a handle to the key was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Generations {
    own: u32,
    group: u32,
}

impl KeyCore {
    pub(super) fn new(secret: Secret, state: StateRef, track_usage: bool) -> Self {
        Self {
            limit: Limit::new(state),
            secret,
            usage: track_usage.then(|| Box::new(UsageCounters::new())),
        }
    }
}

impl Group {
    pub(super) fn new(name: Arc<str>) -> Self {
        let limit = Limit::new(StateRef::single());
        Self { name, limit }
    }
}

impl PooledKey {
    pub(super) fn limit_config(&self) -> &LimitConfig {
        &self.shared.config.limits
    }

    /// The key's own limit and that of its group.
    pub(super) fn limits(&self) -> impl Iterator<Item = &Limit> {
        let group = self.group.as_deref().map(|group| &group.limit);
        std::iter::once(&self.core.limit).chain(group)
    }

    #[inline]
    pub(super) fn generations(&self) -> Generations {
        Generations {
            own: self.core.limit.value().generation(),
            group: self
                .group
                .as_deref()
                .map_or(0, |group| group.limit.value().generation()),
        }
    }

    /// Whether it has no group, no mark and no suspicion.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.group.is_none() && self.core.limit.is_open()
    }

    /// The worse of its own availability and its group's.
    pub(super) fn availability(&self, now: &mut LazyNow) -> Availability {
        let config = self.limit_config();
        let own = self.core.limit.availability(config, now);
        let Some(group) = &self.group else {
            return own;
        };
        match (own, group.limit.availability(config, now)) {
            // A key that does not work must not use up its group's probe.
            (Availability::ProbeDue, Availability::ProbeDue) => Availability::Closed,
            (own, group) => own.max(group),
        }
    }

    /// How often the key was refused without proof since its last success.
    pub(super) fn suspicions(&self) -> u32 {
        self.core.limit.suspicions()
    }

    /// When the key or its group is due for a probe, in milliseconds since the pool's epoch. 0 means
    /// never.
    pub(super) fn probe_due_at(&self) -> u64 {
        let config = self.limit_config();
        let due = self.limits().map(|limit| limit.probe_due_at(config));
        due.max().unwrap_or_default()
    }

    /// The worse of its own state and its group's.
    pub(super) fn state(&self, now: &mut LazyNow) -> KeyState {
        self.limits()
            .map(|limit| limit.state(self.limit_config(), now))
            .max()
            .unwrap_or(KeyState::Valid)
    }

    /// How long until all its limits have reopened or are due for a probe. `None` if that never
    /// happens or has already happened.
    pub(super) fn due_in(&self, now: &mut LazyNow) -> Option<Duration> {
        let config = self.limit_config();
        let mut limits = self.limits();
        let due_in = limits.try_fold(Duration::ZERO, |latest, limit| {
            Some(latest.max(limit.due_in(config, now)?))
        });
        due_in.filter(|due_in| !due_in.is_zero())
    }

    pub(super) fn cool_down(
        &self,
        generations: Generations,
        wait: Option<Duration>,
        cause: Cause,
    ) -> Marked {
        let config = self.limit_config();
        let own = &self.core.limit;
        let Some(group) = &self.group else {
            let (marked, wait) = own.cool_down(config, generations.own, wait, cause);
            self.after_mark(marked, KeyState::Temporary { retry_after: wait }, cause);
            return marked;
        };
        let (marked, wait) = group
            .limit
            .cool_down(config, generations.group, wait, cause);
        // The event describes the group, whatever the mark means for this key.
        self.after_mark(marked, KeyState::Temporary { retry_after: wait }, cause);
        match (marked, own.state(config, &mut LazyNow::default())) {
            (_, KeyState::Valid) | (Marked::Unchanged, _) => marked,
            (_, KeyState::Temporary { retry_after }) if retry_after < wait => Marked::Extended,
            (_, KeyState::Temporary { .. } | KeyState::Permanent) => Marked::Unchanged,
        }
    }

    pub(super) fn suspect(&self, generations: Generations, cause: Cause) -> Suspicion {
        let config = self.limit_config();
        let suspicion = self.core.limit.suspect(config, generations.own, cause);
        if suspicion.count > 0 {
            self.shared.on_event(|| PoolEvent::Suspected {
                key: self.name(),
                suspicions: suspicion.count,
                reason: cause.reason,
                status: cause.status,
            });
        }
        suspicion
    }

    pub(super) fn convict(
        &self,
        generations: Generations,
        suspicion: Suspicion,
        cause: Cause,
    ) -> Marked {
        let config = self.limit_config();
        let limit = &self.core.limit;
        let marked = limit.convict(config, generations.own, suspicion, cause);
        self.after_mark(marked, KeyState::Permanent, cause);
        marked
    }

    pub(super) fn mark_permanently(&self, generations: Generations, cause: Cause) -> Marked {
        let config = self.limit_config();
        let marked = self
            .core
            .limit
            .mark_permanently(config, generations.own, cause);
        self.after_mark(marked, KeyState::Permanent, cause);
        marked
    }

    pub(super) fn disable(&self) -> Marked {
        let marked = self.core.limit.disable();
        self.emit_mark(marked, KeyState::Permanent, Cause::of(Reason::Operator));
        marked
    }

    /// Returns whether the key or its group was closed.
    pub(super) fn reinstate(&self) -> bool {
        let mut was_closed = false;
        for limit in self.limits() {
            was_closed |= limit.reinstate(self.limit_config());
        }
        was_closed
    }

    /// Records that a request succeeded with the key.
    #[inline]
    pub(super) fn succeed(&self, generations: Generations) {
        if !self.core.limit.is_settled() || self.group.is_some() {
            self.reset_trust(generations);
        }
    }

    #[cold]
    fn reset_trust(&self, generations: Generations) {
        let config = self.limit_config();
        if let Some(group) = self
            .group
            .as_deref()
            .filter(|group| !group.limit.is_settled())
        {
            group.limit.succeed(config, generations.group);
        }
        let own = &self.core.limit;
        if !own.is_settled() && own.succeed(config, generations.own) {
            self.shared
                .on_event(|| PoolEvent::Trusted { key: self.name() });
        }
    }

    /// Records a response that goes to the caller.
    #[inline]
    pub(super) fn record_served(&self) {
        if let Some(usage) = &self.core.usage {
            usage.served(self.limit_config().clock);
        }
    }

    pub(super) fn record_refused(&self, reason: Reason) {
        if let Some(usage) = &self.core.usage {
            usage.refused(self.limit_config().clock, reason);
        }
    }

    /// Moves the key to the group `next`. The key keeps the cooldown of its current group.
    pub(super) fn leave_group_for(&self, next: Option<&Arc<Group>>) {
        if let Some(group) = &self.group
            && !next.is_some_and(|next| Arc::ptr_eq(next, group))
        {
            let config = self.limit_config();
            self.core.limit.cool_down_like(&group.limit, config);
        }
    }

    /// Reports a mark, and wakes waiters, because there may be no key left to wait for.
    pub(super) fn after_mark(&self, marked: Marked, state: KeyState, cause: Cause) {
        self.emit_mark(marked, state, cause);
        if marked != Marked::Unchanged {
            self.shared.queue.wake_if_waiting();
        }
    }

    fn emit_mark(&self, marked: Marked, state: KeyState, cause: Cause) {
        if marked != Marked::Unchanged {
            self.shared.on_event(|| PoolEvent::Marked {
                key: self.name(),
                state,
                marked,
                reason: cause.reason,
                status: cause.status,
            });
        }
    }

    pub(super) fn name(&self) -> KeyName {
        KeyName {
            label: self.label.clone(),
            hint: self.core.secret.hint().into(),
            group: self.group.as_ref().map(|group| Arc::clone(&group.name)),
        }
    }

    pub(super) fn snapshot(&self, now: &mut LazyNow) -> KeySnapshot {
        let config = self.limit_config();
        let marked = self.limits().filter(|limit| limit.reason().is_some());
        let last = marked.reduce(|own, group| {
            if group.state(config, now) > own.state(config, now) {
                group
            } else {
                own
            }
        });
        let usage = self.core.usage.as_ref();
        KeySnapshot {
            label: self.label.clone(),
            hint: self.core.secret.hint().into(),
            group: self.group.as_ref().map(|group| Arc::clone(&group.name)),
            state: self.state(now),
            suspicions: self.suspicions(),
            reason: last.and_then(Limit::reason),
            usage: usage.map(|usage| usage.read(config.clock, now)),
        }
    }
}

impl fmt::Debug for PooledKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledKey")
            .field("hint", &self.core.secret.hint())
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}
