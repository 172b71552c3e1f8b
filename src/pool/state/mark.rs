//! Marks: cooldowns, permanent marks, and those of an operator.

use std::time::Duration;

use super::Marked;
use super::atomic_state::{Deadline, StateValue};
use super::config::LimitConfig;
use super::limit::{Limit, is_valid};
use crate::pool::clock::LazyNow;
use crate::pool::reason::{Cause, Reason};

impl Limit {
    /// How long a cooldown lasts that begins now: the wait that the provider named (`hint`), or the
    /// default.
    pub(in crate::pool) fn cooldown(
        &self,
        config: &LimitConfig,
        hint: Option<Duration>,
        now: &mut LazyNow,
    ) -> Duration {
        config.cooldown.length(hint, || self.repeated(config, now))
    }

    /// How many cooldowns of unknown length came before this one.
    fn repeated(&self, config: &LimitConfig, now: &mut LazyNow) -> u32 {
        let repeated = self.trust.repeated();
        if is_valid(self.value(), config.clock, now) {
            repeated
        } else {
            // The current cooldown is counted already.
            repeated.saturating_sub(1)
        }
    }

    /// Lets the limit cool down for `wait`, in the generation of `seen`. The length is unknown if it
    /// is the pool's default.
    pub(in crate::pool) fn cool_down(
        &self,
        config: &LimitConfig,
        seen: StateValue,
        wait: Duration,
        is_unknown: bool,
        cause: Cause,
        now: &mut LazyNow,
    ) -> Marked {
        let deadline = config.clock.deadline(now.get(), wait);
        let state = StateValue::cooling_down(seen.generation(), deadline);
        let before = self.cell.state.mark(state);
        if before >= state {
            return Marked::Unchanged;
        }
        let was_valid = is_valid(before, config.clock, now);
        // A burst of refusals counts once: only the first one changes the state.
        if was_valid && is_unknown && config.cooldown.exponential.is_some() {
            self.trust.add_repeated();
        }
        self.record_mark(config, state, cause, was_valid, now);
        if was_valid {
            Marked::Transitioned
        } else {
            Marked::Extended
        }
    }

    /// Marks the limit permanently, in the generation of `seen`.
    pub(in crate::pool) fn mark_permanently(
        &self,
        config: &LimitConfig,
        seen: StateValue,
        cause: Cause,
    ) -> Marked {
        let state = StateValue::permanent(seen.generation());
        let before = self.cell.state.mark(state);
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
        let probes = &self.cell.probes;
        // An extended cooldown continues its series of probes.
        let refused = match was_valid || is_permanent {
            true => 0,
            false => probes.plan(state).doublings,
        };
        let due = config.next_probe(refused, now);
        probes.update(state, |plan| (plan.doublings, plan.due) = (refused, due));
        config.pool_probes.is_due_at(self.probe_due_at(config));
        if is_permanent {
            config.pool_probes.start(config.next_pool_probe(0, now));
        }
    }

    /// Marks the limit permanently on behalf of an operator. It is never probed.
    pub(in crate::pool) fn disable(&self) -> Marked {
        let before = self.cell.state.disable();
        if before == StateValue::REMOVED {
            return Marked::Unchanged;
        }
        self.record_reason(Reason::Operator);
        match before.deadline() {
            Deadline::Permanent | Deadline::Disabled => Marked::Unchanged,
            Deadline::None | Deadline::Suspected | Deadline::At(_) => Marked::Transitioned,
        }
    }

    pub(in crate::pool) fn remove(&self) {
        self.cell.state.remove();
    }
}
