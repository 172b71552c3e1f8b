//! A limit: whether one key, or a group of keys that share a rate limit, can be used now.

use std::time::Duration;

use tokio::time::Instant;

use super::atomic_state::{Deadline, StateValue};
use super::block::StateRef;
use super::cooldown::{CooldownRules, doubled};
use super::probe_schedule::{Plan, ProbeSchedule};
use super::{KeyState, Marked};
use crate::pool::clock::{Clock, LazyNow};
use crate::pool::reason::{Cause, Reason};
use crate::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// What all limits of a pool have in common.
#[derive(Debug)]
pub(in crate::pool) struct LimitConfig {
    pub(in crate::pool) clock: Clock,
    pub(in crate::pool) cooldown: CooldownRules,
    pub(in crate::pool) probe_after: Option<Duration>,
    pub(in crate::pool) slow_start: Option<Duration>,
}

impl LimitConfig {
    const MAX_PROBE_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

    /// Whether a limit that reopened at `since` still admits one request at a time.
    pub(in crate::pool) fn is_in_slow_start(&self, since: u64, now: &mut LazyNow) -> bool {
        self.slow_start.is_some_and(|slow_start| {
            let millis = u64::try_from(slow_start.as_millis()).unwrap_or(u64::MAX);
            !self.clock.has_come(since.saturating_add(millis), now)
        })
    }

    /// When an unusable limit is probed next. 0 means never.
    fn next_probe(&self, now: Instant, doublings: u32) -> u64 {
        self.probe_after.map_or(0, |after| {
            let interval = doubled(after, doublings).min(after.max(Self::MAX_PROBE_INTERVAL));
            self.clock.deadline(now, interval).max(1)
        })
    }
}

pub(in crate::pool) struct Limit {
    state: StateRef,
    pub(in crate::pool) probes: ProbeSchedule,
    /// Cooldowns of unknown length since the last success.
    repeated: AtomicU32,
    /// The reason of the last mark: its index plus one.
    reason: AtomicU8,
}

/// What a limit allows, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::pool) enum Availability {
    Open,
    /// Its cooldown has expired, and no watched request has succeeded since.
    Reopened {
        /// Milliseconds since the pool's epoch.
        since: u64,
    },
    /// It is closed and due for a probe.
    ProbeDue,
    Closed,
}

/// One request's right to probe a limit.
#[derive(Clone, Copy, Debug)]
pub(in crate::pool) struct LimitProbe {
    /// The limit's state when the probe began.
    pub(in crate::pool) seen: StateValue,
    /// Whether the limit was closed, and not merely reopened.
    was_closed: bool,
}

/// The result of [`Limit::take_probe`].
#[derive(Clone, Copy, Debug)]
pub(in crate::pool) enum Taken {
    Probe(LimitProbe),
    /// The limit is open and needs no probe.
    Open,
    /// The limit is closed, or another request is probing it.
    Refused,
}

impl Limit {
    pub(in crate::pool) fn new(state: StateRef) -> Self {
        Self {
            state,
            probes: ProbeSchedule::new(),
            repeated: AtomicU32::new(0),
            reason: AtomicU8::new(0),
        }
    }

    pub(in crate::pool) fn value(&self) -> StateValue {
        self.state.load()
    }

    /// Where its state is stored.
    pub(in crate::pool) fn state_ref(&self) -> &StateRef {
        &self.state
    }

    /// Whether it is valid and not marked in its present generation.
    #[inline]
    pub(in crate::pool) fn is_open(&self) -> bool {
        self.state.load().deadline() == Deadline::None
    }

    pub(in crate::pool) fn availability(
        &self,
        config: &LimitConfig,
        now: &mut LazyNow,
    ) -> Availability {
        let state = self.state.load();
        judge(state, || self.probes.plan(state), config, now)
    }

    /// Whether a request can use or probe it.
    pub(in crate::pool) fn is_available(&self, config: &LimitConfig, now: &mut LazyNow) -> bool {
        let state = self.state.load();
        let plan = self.probes.plan(state);
        match judge(state, || plan, config, now) {
            Availability::Open | Availability::ProbeDue => true,
            Availability::Reopened { .. } => !plan.taken,
            Availability::Closed => false,
        }
    }

    pub(in crate::pool) fn state(&self, config: &LimitConfig, now: &mut LazyNow) -> KeyState {
        match self.state.load().deadline() {
            Deadline::None => KeyState::Valid,
            Deadline::Never => KeyState::Permanent,
            Deadline::At(deadline) => match config.clock.remaining(deadline, now) {
                None => KeyState::Valid,
                Some(retry_after) => KeyState::Temporary { retry_after },
            },
        }
    }

    /// How long until it reopens or is due for a probe. Zero if that is now, `None` if never.
    pub(in crate::pool) fn due_in(
        &self,
        config: &LimitConfig,
        now: &mut LazyNow,
    ) -> Option<Duration> {
        let state = self.state.load();
        let reopens = match state.deadline() {
            Deadline::None => return Some(Duration::ZERO),
            Deadline::At(deadline) => Some(deadline),
            Deadline::Never => None,
        };
        let due = Some(self.probes.plan(state).due).filter(|due| *due != 0);
        let soonest = reopens.into_iter().chain(due).min()?;
        Some(config.clock.remaining(soonest, now).unwrap_or_default())
    }

    /// The reason of the last mark.
    pub(in crate::pool) fn reason(&self) -> Option<Reason> {
        let at = self.reason.load(Ordering::Relaxed).checked_sub(1)?;
        Reason::ALL.get(usize::from(at)).copied()
    }

    /// Lets the limit cool down for `wait`, or for the default. Also returns how long that is.
    pub(in crate::pool) fn cool_down(
        &self,
        config: &LimitConfig,
        generation: u32,
        wait: Option<Duration>,
        cause: Cause,
    ) -> (Marked, Duration) {
        let mut now = LazyNow::default();
        let hint = wait.filter(|wait| !wait.is_zero());
        let wait = config
            .cooldown
            .length(hint, || self.repeated(config, &mut now));
        let deadline = config.clock.deadline(now.get(), wait);
        let state = StateValue::cooling_down(generation, deadline);
        let before = self.state.mark(state);
        let marked = if before >= state {
            Marked::Unchanged
        } else if is_valid(before, config.clock, &mut now) {
            Marked::Transitioned
        } else {
            Marked::Extended
        };
        // A burst of refusals counts once: only the first one changes the state.
        if hint.is_none() && marked == Marked::Transitioned {
            self.repeated.fetch_add(1, Ordering::Relaxed);
        }
        if marked != Marked::Unchanged {
            let was_valid = marked == Marked::Transitioned;
            self.record_mark(config, state, cause, was_valid, &mut now);
        }
        (marked, wait)
    }

    /// How many cooldowns of unknown length came before this one.
    fn repeated(&self, config: &LimitConfig, now: &mut LazyNow) -> u32 {
        let repeated = self.repeated.load(Ordering::Relaxed);
        let exponential = config.cooldown.exponential.is_some();
        if !exponential || is_valid(self.state.load(), config.clock, now) {
            repeated
        } else {
            // The present cooldown is counted already.
            repeated.saturating_sub(1)
        }
    }

    pub(in crate::pool) fn mark_permanently(
        &self,
        config: &LimitConfig,
        generation: u32,
        cause: Cause,
    ) -> Marked {
        let state = StateValue::permanent(generation);
        let before = self.state.mark(state);
        if before >= state {
            return Marked::Unchanged;
        }
        let mut now = LazyNow::default();
        let was_valid = is_valid(before, config.clock, &mut now);
        self.record_mark(config, state, cause, was_valid, &mut now);
        Marked::Transitioned
    }

    fn record_mark(
        &self,
        config: &LimitConfig,
        state: StateValue,
        cause: Cause,
        was_valid: bool,
        now: &mut LazyNow,
    ) {
        self.record_reason(cause.reason);
        if config.probe_after.is_some() {
            let now = now.get();
            self.probes.update(state, |plan| {
                if was_valid {
                    plan.doublings = 0;
                }
                plan.due = config.next_probe(now, plan.doublings);
            });
        }
    }

    fn record_reason(&self, reason: Reason) {
        let index = reason.index() as u8 + 1;
        self.reason.store(index, Ordering::Relaxed);
    }

    /// Lets the limit cool down for as long as `other`, to which its key belonged.
    pub(in crate::pool) fn cool_down_like(&self, other: &Self, config: &LimitConfig) {
        let mut now = LazyNow::default();
        let Deadline::At(deadline) = other.value().deadline() else {
            return;
        };
        if config.clock.has_come(deadline, &mut now) {
            return;
        }
        let state = StateValue::cooling_down(self.value().generation(), deadline);
        let before = self.state.mark(state);
        if before < state {
            let cause = Cause::of(other.reason().unwrap_or(Reason::Other));
            let was_valid = is_valid(before, config.clock, &mut now);
            self.record_mark(config, state, cause, was_valid, &mut now);
        }
    }

    /// Marks the limit permanently on behalf of an operator. It is never probed.
    pub(in crate::pool) fn disable(&self) -> Marked {
        let before = self.state.disable();
        if before == StateValue::REMOVED {
            return Marked::Unchanged;
        }
        self.record_reason(Reason::Operator);
        match before.deadline() {
            Deadline::Never => Marked::Unchanged,
            Deadline::None | Deadline::At(_) => Marked::Transitioned,
        }
    }

    /// Whether an operator disabled it.
    #[cfg(feature = "serde")]
    pub(in crate::pool) fn is_disabled(&self) -> bool {
        self.reason() == Some(Reason::Operator) && self.probes.plan(self.value()).due == 0
    }

    /// Opens the limit, whatever its mark. Returns whether it was closed.
    pub(in crate::pool) fn reinstate(&self, config: &LimitConfig) -> bool {
        let mut now = LazyNow::default();
        loop {
            let seen = self.state.load();
            let was_closed = !is_valid(seen, config.clock, &mut now);
            if seen.deadline() == Deadline::None || self.state.reinstate(seen) {
                self.repeated.store(0, Ordering::Relaxed);
                return was_closed;
            }
            if self.state.load() == seen {
                // Its generations are used up, or its key was removed.
                return false;
            }
        }
    }

    /// Records that a request with this limit's key succeeded.
    pub(in crate::pool) fn succeed(&self, config: &LimitConfig, generation: u32) {
        if self.repeated.load(Ordering::Relaxed) == 0 {
            return;
        }
        // A late success proves nothing about a cooldown that began after it.
        let state = self.state.load();
        let now = &mut LazyNow::default();
        if state.generation() == generation && is_valid(state, config.clock, now) {
            self.repeated.store(0, Ordering::Relaxed);
        }
    }

    pub(in crate::pool) fn remove(&self) {
        self.state.remove();
    }

    pub(in crate::pool) fn is_removed(&self) -> bool {
        self.state.load() == StateValue::REMOVED
    }

    /// Takes the right to probe the limit, if it is due or has just reopened.
    pub(in crate::pool) fn take_probe(&self, config: &LimitConfig, now: &mut LazyNow) -> Taken {
        let seen = self.state.load();
        let plan = self.probes.plan(seen);
        let was_closed = match judge(seen, || plan, config, now) {
            Availability::Open => return Taken::Open,
            Availability::Closed => return Taken::Refused,
            Availability::Reopened { .. } => false,
            Availability::ProbeDue => true,
        };
        if self.probes.take(seen, plan) {
            Taken::Probe(LimitProbe { seen, was_closed })
        } else {
            Taken::Refused
        }
    }

    /// Ends a probe that succeeded. Returns whether the limit is open now; a newer mark survives.
    pub(in crate::pool) fn probe_succeeded(&self, probe: LimitProbe) -> bool {
        let reinstated = self.state.reinstate(probe.seen);
        if reinstated {
            self.repeated.store(0, Ordering::Relaxed);
        } else {
            self.probe_dropped(probe);
        }
        reinstated
    }

    /// Ends a probe. The next one is due after the same interval, doubled `doublings` times.
    pub(in crate::pool) fn probe_failed(
        &self,
        probe: LimitProbe,
        config: &LimitConfig,
        doublings: u32,
    ) {
        let now = LazyNow::default().get();
        self.probes.update(probe.seen, |plan| {
            plan.taken = false;
            if probe.was_closed {
                plan.doublings += doublings;
                plan.due = config.next_probe(now, plan.doublings);
            }
        });
    }

    /// Ends a probe without a result. The next request can probe.
    pub(in crate::pool) fn probe_dropped(&self, probe: LimitProbe) {
        self.probes.update(probe.seen, |plan| plan.taken = false);
    }
}

fn judge(
    state: StateValue,
    plan: impl FnOnce() -> Plan,
    config: &LimitConfig,
    now: &mut LazyNow,
) -> Availability {
    match state.deadline() {
        Deadline::None => return Availability::Open,
        Deadline::At(since) if config.clock.has_come(since, now) => {
            return Availability::Reopened { since };
        }
        Deadline::At(_) | Deadline::Never => {}
    }
    if config.probe_after.is_none() {
        return Availability::Closed;
    }
    let plan = plan();
    if plan.due != 0 && !plan.taken && config.clock.has_come(plan.due, now) {
        Availability::ProbeDue
    } else {
        Availability::Closed
    }
}

#[inline]
pub(in crate::pool) fn is_valid(state: StateValue, clock: Clock, now: &mut LazyNow) -> bool {
    match state.deadline() {
        Deadline::None => true,
        Deadline::Never => false,
        Deadline::At(deadline) => clock.has_come(deadline, now),
    }
}
