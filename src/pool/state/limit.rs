//! A limit: whether one key, or a group of keys that share a rate limit, can be used now.

use std::time::Duration;

use super::KeyState;
use super::atomic_state::{Deadline, StateValue};
use super::cell::StateCell;
use super::config::LimitConfig;
use super::reopening::Reopening;
use super::trust::Trust;
use crate::pool::clock::{Clock, LazyNow};
use crate::pool::reason::Reason;
use crate::sync::Arc;
use crate::sync::atomic::{AtomicU8, AtomicU32, Ordering};

pub(in crate::pool) struct Limit {
    pub(super) cell: Arc<StateCell>,
    pub(super) trust: Trust,
    pub(super) reopening: Reopening,
    /// The reason of the last mark or suspicion: its index plus one.
    reason: AtomicU8,
    /// How often an operator of this process disabled or reinstated the limit.
    operator_acts: AtomicU32,
}

/// What a limit allows, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::pool) enum Availability {
    Open,
    /// Its cooldown has ended. It admits a few attempts at a time until it has proven to be open.
    Reopening,
    /// It is closed and due for a probe.
    ProbeDue,
    Closed,
}

impl Limit {
    pub(in crate::pool) fn new() -> Self {
        Self {
            cell: Arc::new(StateCell::new()),
            trust: Trust::new(),
            reopening: Reopening::new(),
            reason: AtomicU8::new(0),
            operator_acts: AtomicU32::new(0),
        }
    }

    #[inline]
    pub(in crate::pool) fn value(&self) -> StateValue {
        self.cell.state.load()
    }

    /// How often an operator of this process disabled or reinstated the limit. What they did shows in
    /// a state that is read afterwards.
    pub(in crate::pool) fn operator_acts(&self) -> u32 {
        self.operator_acts.load(Ordering::Acquire)
    }

    pub(in crate::pool) fn record_operator_act(&self) {
        self.operator_acts.fetch_add(1, Ordering::Release);
    }

    /// What a search reads of the limit.
    pub(in crate::pool) fn cell(&self) -> &Arc<StateCell> {
        &self.cell
    }

    /// Whether it is valid, not suspected, and not marked in its current generation.
    #[inline]
    pub(in crate::pool) fn is_open(&self) -> bool {
        self.value().is_open()
    }

    pub(in crate::pool) fn availability(
        &self,
        config: &LimitConfig,
        now: &mut LazyNow,
    ) -> Availability {
        let state = self.value();
        match state.deadline() {
            Deadline::None | Deadline::Suspected => return Availability::Open,
            Deadline::At(end) if config.clock.has_come(end, now) => {
                return Availability::Reopening;
            }
            Deadline::Disabled => return Availability::Closed,
            // The plan may be that of an earlier suspicion.
            Deadline::At(_) if !config.probes.probes_cooldowns => return Availability::Closed,
            Deadline::At(_) | Deadline::Permanent => {}
        }
        if config.probes.after.is_some() && config.is_due(self.cell.probes.plan(state), now) {
            Availability::ProbeDue
        } else {
            Availability::Closed
        }
    }

    /// How long until it admits an attempt, if it is reopening. Zero if it does so now.
    pub(in crate::pool) fn admits_in(&self, config: &LimitConfig, now: &mut LazyNow) -> Duration {
        let state = self.value();
        match state.deadline() {
            Deadline::At(_) => self.reopening.admits_in(state, config.clock, now),
            _ => Duration::ZERO,
        }
    }

    pub(in crate::pool) fn state(&self, config: &LimitConfig, now: &mut LazyNow) -> KeyState {
        match self.value().deadline() {
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
        self.cell.probe_due_at(self.value(), config)
    }

    /// How long until it admits an attempt or is due for a probe. Zero if that is now, `None` if never.
    pub(in crate::pool) fn due_in(
        &self,
        config: &LimitConfig,
        now: &mut LazyNow,
    ) -> Option<Duration> {
        let state = self.value();
        let reopens = match state.deadline() {
            Deadline::None | Deadline::Suspected => return Some(Duration::ZERO),
            Deadline::Disabled => return None,
            Deadline::At(end) if config.clock.has_come(end, now) => {
                return Some(self.reopening.admits_in(state, config.clock, now));
            }
            Deadline::At(end) => Some(end),
            Deadline::Permanent => None,
        };
        let has_plan = reopens.is_none() || config.probes.probes_cooldowns;
        let plan = self.cell.probes.plan(state);
        let due = Some(plan.due).filter(|due| has_plan && *due != 0);
        let soonest = reopens.into_iter().chain(due).min()?;
        Some(config.clock.remaining(soonest, now).unwrap_or_default())
    }

    /// The reason of the last mark or suspicion since an operator last reinstated the limit.
    pub(in crate::pool) fn reason(&self) -> Option<Reason> {
        // An earlier mark may record its reason late.
        if self.is_disabled() {
            return Some(Reason::Operator);
        }
        let at = self.reason.load(Ordering::Relaxed).checked_sub(1)?;
        Reason::ALL.get(usize::from(at)).copied()
    }

    pub(super) fn forget_reason(&self) {
        self.reason.store(0, Ordering::Relaxed);
    }

    pub(super) fn record_reason(&self, reason: Reason) {
        let index = reason.index() as u8 + 1;
        self.reason.store(index, Ordering::Relaxed);
    }

    /// Whether an operator disabled it.
    pub(in crate::pool) fn is_disabled(&self) -> bool {
        self.value().deadline() == Deadline::Disabled && !self.is_removed()
    }

    /// Whether it is permanently marked, but not disabled.
    pub(in crate::pool) fn is_permanent(&self) -> bool {
        self.value().deadline() == Deadline::Permanent
    }

    pub(in crate::pool) fn is_removed(&self) -> bool {
        self.value() == StateValue::REMOVED
    }
}

/// A time that every pool has reached.
pub(super) const PAST: u64 = 1;

#[inline]
pub(in crate::pool) fn is_valid(state: StateValue, clock: Clock, now: &mut LazyNow) -> bool {
    // A search calls this for each key, most of which are closed.
    match (state.is_open_or_marked(), state.deadline()) {
        (Some(is_open), _) => is_open,
        (None, Deadline::At(end)) => clock.has_come(end, now),
        (None, _) => true,
    }
}
