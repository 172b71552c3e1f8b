//! A limit: whether one key, or a group of keys that share a rate limit, can be used now.

use std::time::Duration;

use super::atomic_state::{Deadline, StateValue};
use super::block::StateRef;
use super::cooldown::CooldownRules;
use super::pool_probes::PoolProbes;
use super::probe_interval::ProbeRules;
use super::probe_schedule::{Plan, ProbeSchedule, ProbeToken};
use super::trust::{Suspicion, Trust};
use super::{KeyState, Marked};
use crate::pool::clock::{Clock, LazyNow};
use crate::pool::reason::{Cause, Reason};
use crate::sync::atomic::{AtomicU8, Ordering};

/// The configuration that all limits of a pool share.
#[derive(Debug)]
pub(in crate::pool) struct LimitConfig {
    pub(in crate::pool) clock: Clock,
    pub(in crate::pool) cooldown: CooldownRules,
    pub(in crate::pool) probes: ProbeRules,
    pub(in crate::pool) pool_probes: PoolProbes,
    pub(in crate::pool) slow_start: Option<Duration>,
}

impl LimitConfig {
    /// A probe without a result blocks others for this long.
    const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

    /// Whether a limit that reopened at `since` still admits one request at a time.
    pub(in crate::pool) fn is_in_slow_start(&self, since: u64, now: &mut LazyNow) -> bool {
        self.slow_start.is_some_and(|slow_start| {
            let millis = u64::try_from(slow_start.as_millis()).unwrap_or(u64::MAX);
            !self.clock.has_come(since.saturating_add(millis), now)
        })
    }

    /// When a key is probed next, after `refused` refusals for the same reason. 0 means never.
    fn next_probe(&self, refused: u32, now: &mut LazyNow) -> u64 {
        self.after(self.probes.interval(refused), now)
    }

    /// When a pool without a usable key is probed next, after `refused` refusals. 0 means never.
    pub(in crate::pool) fn next_pool_probe(&self, refused: u32, now: &mut LazyNow) -> u64 {
        self.after(self.probes.pool_interval(refused), now)
    }

    fn after(&self, interval: Option<Duration>, now: &mut LazyNow) -> u64 {
        interval.map_or(0, |interval| {
            self.clock.deadline(now.get(), interval).max(1)
        })
    }

    /// When a probe that is taken now expires.
    pub(in crate::pool) fn probe_expires(&self, now: &mut LazyNow) -> u64 {
        self.clock.deadline(now.get(), Self::PROBE_TIMEOUT)
    }

    /// How long until a pool without a usable key is probed. `None` if never, or if that is now.
    pub(in crate::pool) fn pool_probe_in(&self, now: &mut LazyNow) -> Option<Duration> {
        let due = Some(self.pool_probes.plan().due).filter(|due| *due != 0)?;
        self.probes.after?;
        self.clock.remaining(due, now)
    }

    pub(in crate::pool) fn is_due(&self, plan: Plan, now: &mut LazyNow) -> bool {
        plan.due != 0 && self.clock.has_come(plan.due, now)
    }
}

pub(in crate::pool) struct Limit {
    state: StateRef,
    trust: Trust,
    probes: ProbeSchedule,
    /// The reason of the last mark or suspicion: its index plus one.
    reason: AtomicU8,
}

/// What a limit allows, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::pool) enum Availability {
    Open,
    /// Its cooldown has ended, and no probe has succeeded since.
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
    seen: StateValue,
    token: ProbeToken,
    pub(in crate::pool) kind: ProbeKind,
}

/// What a probe is to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pool) enum ProbeKind {
    /// Whether a permanent mark still applies.
    Permanent,
    /// Whether a cooldown can end early.
    CoolingDown,
    /// Whether a suspected key works.
    Suspected,
    /// Whether a cooldown has really ended. Such a limit is open anyway.
    Reopened,
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
            trust: Trust::new(),
            probes: ProbeSchedule::new(),
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

    /// Whether it is valid, not suspected, and not marked in its current generation.
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
        match state.deadline() {
            Deadline::None | Deadline::Suspected => return Availability::Open,
            Deadline::At(since) if config.clock.has_come(since, now) => {
                return Availability::Reopened { since };
            }
            Deadline::Disabled => return Availability::Closed,
            // The plan may be that of an earlier suspicion.
            Deadline::At(_) if !config.probes.probes_cooldowns => return Availability::Closed,
            Deadline::At(_) | Deadline::Permanent => {}
        }
        if config.probes.after.is_some() && config.is_due(self.probes.plan(state), now) {
            Availability::ProbeDue
        } else {
            Availability::Closed
        }
    }

    pub(in crate::pool) fn state(&self, config: &LimitConfig, now: &mut LazyNow) -> KeyState {
        match self.state.load().deadline() {
            Deadline::None | Deadline::Suspected => KeyState::Valid,
            Deadline::Permanent | Deadline::Disabled => KeyState::Permanent,
            Deadline::At(deadline) => match config.clock.remaining(deadline, now) {
                None => KeyState::Valid,
                Some(retry_after) => KeyState::Temporary { retry_after },
            },
        }
    }

    /// When it is due for a probe, in milliseconds since the pool's epoch. 0 means never.
    pub(in crate::pool) fn probe_due_at(&self, config: &LimitConfig) -> u64 {
        let state = self.state.load();
        match state.deadline() {
            Deadline::None | Deadline::Suspected | Deadline::Disabled => 0,
            Deadline::At(_) if !config.probes.probes_cooldowns => 0,
            Deadline::At(_) | Deadline::Permanent => self.probes.plan(state).due,
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
            Deadline::None | Deadline::Suspected => return Some(Duration::ZERO),
            Deadline::Disabled => return None,
            Deadline::At(deadline) => Some(deadline),
            Deadline::Permanent => None,
        };
        let plan = self.probes.plan(state);
        if let Some(end) = reopens
            && config.clock.has_come(end, now)
        {
            // Another request may be using it, for as long as its probe lasts.
            let lease = Some(plan.due).filter(|_| plan.taken);
            return Some(
                lease
                    .and_then(|end| config.clock.remaining(end, now))
                    .unwrap_or_default(),
            );
        }
        let has_plan = reopens.is_none() || config.probes.probes_cooldowns;
        let due = Some(plan.due).filter(|due| has_plan && *due != 0);
        let soonest = reopens.into_iter().chain(due).min()?;
        Some(config.clock.remaining(soonest, now).unwrap_or_default())
    }

    /// The reason of the last mark or suspicion since an operator last reinstated the limit.
    pub(in crate::pool) fn reason(&self) -> Option<Reason> {
        let at = self.reason.load(Ordering::Relaxed).checked_sub(1)?;
        Reason::ALL.get(usize::from(at)).copied()
    }

    pub(in crate::pool) fn suspicions(&self) -> u32 {
        self.trust.suspicions()
    }

    pub(in crate::pool) fn is_proven(&self) -> bool {
        self.trust.is_proven()
    }

    /// Whether a success changes nothing.
    #[inline]
    pub(in crate::pool) fn is_settled(&self) -> bool {
        self.trust.is_settled()
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
        let doubles = config.cooldown.exponential.is_some();
        if doubles && hint.is_none() && marked == Marked::Transitioned {
            self.trust.add_repeated();
        }
        if marked != Marked::Unchanged {
            let was_valid = marked == Marked::Transitioned;
            self.record_mark(config, state, cause, was_valid, &mut now);
        }
        (marked, wait)
    }

    /// How many cooldowns of unknown length came before this one.
    fn repeated(&self, config: &LimitConfig, now: &mut LazyNow) -> u32 {
        let repeated = self.trust.repeated();
        if is_valid(self.state.load(), config.clock, now) {
            repeated
        } else {
            // The current cooldown is counted already.
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
        let is_permanent = state.deadline() == Deadline::Permanent;
        if !is_permanent && !config.probes.probes_cooldowns || config.probes.after.is_none() {
            return;
        }
        // An extended cooldown continues its series of probes.
        let refused = match was_valid || is_permanent {
            true => 0,
            false => self.probes.plan(state).doublings,
        };
        let due = config.next_probe(refused, now);
        self.probes
            .update(state, |plan| (plan.doublings, plan.due) = (refused, due));
        config.pool_probes.is_due_at(self.probe_due_at(config));
        if is_permanent {
            config.pool_probes.start(config.next_pool_probe(0, now));
        }
    }

    fn forget_reason(&self) {
        self.reason.store(0, Ordering::Relaxed);
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

    /// Records a refusal that may be the request's fault. The limit stays open.
    pub(in crate::pool) fn suspect(
        &self,
        config: &LimitConfig,
        generation: u32,
        cause: Cause,
    ) -> Suspicion {
        let state = self.state.load();
        if state.generation() != generation {
            return Suspicion::VOID;
        }
        let suspicion = self.trust.suspect();
        let now = &mut LazyNow::default();
        if !self.forget_cooldown(config, now) && suspicion.count == 1 && is_suspectable(state) {
            self.plan_suspect(config, state, now);
        }
        if is_suspectable(self.state.load()) {
            self.record_reason(cause.reason);
        }
        self.show_suspicion();
        suspicion
    }

    fn plan_suspect(&self, config: &LimitConfig, state: StateValue, now: &mut LazyNow) {
        let due = config.next_probe(0, now);
        self.probes
            .update(state, |plan| (plan.doublings, plan.due) = (0, due));
    }

    /// Turns an expired cooldown of a suspected limit into its suspicion, which is then probed.
    /// Returns whether it did.
    fn forget_cooldown(&self, config: &LimitConfig, now: &mut LazyNow) -> bool {
        let state = self.state.latest();
        match state.deadline() {
            Deadline::At(end) if config.clock.has_come(end, now) => {
                self.plan_suspect(config, state, now);
                self.state.set_suspected(state, true);
                true
            }
            _ => false,
        }
    }

    /// Marks the limit permanently if the suspicion still applies.
    pub(in crate::pool) fn convict(
        &self,
        config: &LimitConfig,
        generation: u32,
        suspicion: Suspicion,
        cause: Cause,
    ) -> Marked {
        if !self.trust.convict(suspicion) {
            return Marked::Unchanged;
        }
        let marked = self.mark_permanently(config, generation, cause);
        self.show_suspicion();
        marked
    }

    /// Records a success. Returns whether the key was suspected.
    pub(in crate::pool) fn succeed(&self, config: &LimitConfig, generation: u32) -> bool {
        // A late success proves nothing about a cooldown that began after it.
        let state = self.state.load();
        let now = &mut LazyNow::default();
        let resets_repeated =
            state.generation() == generation && is_valid(state, config.clock, now);
        let cleared = self.trust.succeed(resets_repeated);
        self.show_suspicion();
        cleared > 0
    }

    /// Makes the state show whether there is a suspicion, so that the common path does not have to
    /// read the trust as well.
    fn show_suspicion(&self) {
        loop {
            // Whoever changes one of the two last sees the other's last value here.
            let is_suspected = self.trust.is_suspected_at_last();
            let seen = self.state.latest();
            match (seen.deadline(), is_suspected) {
                (Deadline::None, true) | (Deadline::Suspected, false) => {
                    self.state.set_suspected(seen, is_suspected);
                }
                _ => return,
            }
            // Another thread may have changed the trust in between.
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
            Deadline::Permanent | Deadline::Disabled => Marked::Unchanged,
            Deadline::None | Deadline::Suspected | Deadline::At(_) => Marked::Transitioned,
        }
    }

    /// Whether an operator disabled it.
    pub(in crate::pool) fn is_disabled(&self) -> bool {
        self.value().deadline() == Deadline::Disabled && !self.is_removed()
    }

    /// Whether it is permanently marked, but not disabled.
    pub(in crate::pool) fn is_permanent(&self) -> bool {
        self.value().deadline() == Deadline::Permanent
    }

    /// Opens the limit, whatever its mark. Returns whether it was closed.
    pub(in crate::pool) fn reinstate(&self, config: &LimitConfig) -> bool {
        let mut now = LazyNow::default();
        loop {
            let seen = self.state.load();
            let was_closed = !is_valid(seen, config.clock, &mut now);
            if seen.deadline() == Deadline::None || self.state.reinstate(seen) {
                self.trust.reset(!was_closed && self.trust.is_proven());
                self.forget_reason();
                self.show_suspicion();
                return was_closed;
            }
            if self.state.load() == seen {
                // Its generations are used up, or its key was removed.
                return false;
            }
        }
    }

    pub(in crate::pool) fn remove(&self) {
        self.state.remove();
    }

    pub(in crate::pool) fn is_removed(&self) -> bool {
        self.state.load() == StateValue::REMOVED
    }

    /// Whether a suspected limit is due for a probe.
    pub(in crate::pool) fn is_suspect_due(&self, config: &LimitConfig, now: &mut LazyNow) -> bool {
        self.forget_cooldown(config, now);
        let state = self.state.load();
        config.probes.after.is_some()
            && is_suspectable(state)
            && config.is_due(self.probes.plan(state), now)
    }

    /// Whether another request is probing the limit.
    pub(in crate::pool) fn is_taken(&self, config: &LimitConfig, now: &mut LazyNow) -> bool {
        let plan = self.probes.plan(self.state.load());
        plan.taken && !config.is_due(plan, now)
    }

    /// How often the interval of its probes has doubled since its mark, plus one while a probe is in
    /// progress or has expired.
    pub(in crate::pool) fn failed_probes(&self) -> u32 {
        let plan = self.probes.plan(self.state.load());
        plan.doublings + u32::from(plan.taken)
    }

    /// Takes the right to probe the limit: if it is due or has just reopened, or in any case if the
    /// probe is `forced`.
    pub(in crate::pool) fn take_probe(
        &self,
        config: &LimitConfig,
        forced: bool,
        now: &mut LazyNow,
    ) -> Taken {
        let seen = self.state.load();
        let plan = self.probes.plan(seen);
        let is_taken = plan.taken && !config.is_due(plan, now);
        let is_due = !is_taken && (forced || config.is_due(plan, now));
        let kind = match seen.deadline() {
            Deadline::None => return Taken::Open,
            Deadline::Suspected if is_due => ProbeKind::Suspected,
            Deadline::Suspected => return Taken::Open,
            Deadline::At(since) if config.clock.has_come(since, now) => ProbeKind::Reopened,
            Deadline::At(_) if is_due && config.probes.probes_cooldowns => ProbeKind::CoolingDown,
            Deadline::Permanent if is_due => ProbeKind::Permanent,
            Deadline::At(_) | Deadline::Permanent | Deadline::Disabled => return Taken::Refused,
        };
        if is_taken {
            return Taken::Refused;
        }
        let expires = config.probe_expires(now);
        match self.probes.take(seen, plan, expires) {
            Some(token) => {
                config.pool_probes.is_due_at(self.probe_due_at(config));
                Taken::Probe(LimitProbe { seen, token, kind })
            }
            None => Taken::Refused,
        }
    }

    /// Ends a probe that proved that the key works. Returns whether the limit is open now; a newer
    /// mark survives.
    pub(in crate::pool) fn probe_succeeded(&self, probe: LimitProbe, config: &LimitConfig) -> bool {
        if probe.kind == ProbeKind::Suspected {
            self.probes.finish(probe.token, |plan| plan.due = 0);
            return false;
        }
        let reinstated = self.state.reinstate(probe.seen);
        if reinstated {
            self.trust.reset(true);
            self.show_suspicion();
        } else {
            self.probe_dropped(probe, config);
        }
        reinstated
    }

    /// Ends a probe without proof. If the key was refused for the same cause as before, the interval
    /// doubles.
    pub(in crate::pool) fn probe_failed(
        &self,
        probe: LimitProbe,
        config: &LimitConfig,
        refused: Option<Reason>,
    ) {
        if probe.kind == ProbeKind::Reopened {
            self.probe_dropped(probe, config);
            return;
        }
        let is_same = refused.is_some() && refused == self.reason();
        if let Some(reason) = refused {
            self.record_reason(reason);
        }
        self.probes.finish(probe.token, |plan| {
            plan.doublings += u32::from(is_same);
            plan.due = config.next_probe(plan.doublings, &mut LazyNow::default());
        });
        config.pool_probes.is_due_at(self.probe_due_at(config));
    }

    /// Ends a probe without a result. The next request can probe.
    pub(in crate::pool) fn probe_dropped(&self, probe: LimitProbe, config: &LimitConfig) {
        let due = match probe.kind {
            ProbeKind::Reopened => 0,
            _ => PAST,
        };
        self.probes.finish(probe.token, |plan| plan.due = due);
        config.pool_probes.is_due_at(self.probe_due_at(config));
    }
}

/// A time that every pool has reached.
const PAST: u64 = 1;

/// Whether a suspicion shows in the state. Otherwise the limit has a mark, which has its own plan.
fn is_suspectable(state: StateValue) -> bool {
    matches!(state.deadline(), Deadline::None | Deadline::Suspected)
}

#[inline]
pub(in crate::pool) fn is_valid(state: StateValue, clock: Clock, now: &mut LazyNow) -> bool {
    // A search calls this for each key, most of which are closed.
    match (state.is_open_or_marked(), state.deadline()) {
        (Some(is_open), _) => is_open,
        (None, Deadline::At(end)) => clock.has_come(end, now),
        (None, _) => true,
    }
}
