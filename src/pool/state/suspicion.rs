//! Suspicions: refusals that may be the request's fault.

use super::Marked;
use super::atomic_state::{Deadline, StateValue};
use super::config::LimitConfig;
use super::limit::Limit;
use super::trust::Suspicion;
use crate::pool::clock::LazyNow;
use crate::pool::reason::Cause;

impl Limit {
    pub(in crate::pool) fn suspicions(&self) -> u32 {
        self.trust.suspicions()
    }

    pub(in crate::pool) fn is_proven(&self) -> bool {
        self.trust.is_proven()
    }

    /// Records a refusal that may be the request's fault. The limit stays open.
    pub(in crate::pool) fn suspect(
        &self,
        config: &LimitConfig,
        seen: StateValue,
        cause: Cause,
    ) -> Suspicion {
        let state = self.value();
        if state.generation() != seen.generation() {
            return Suspicion::VOID;
        }
        let suspicion = self.trust.suspect();
        let has_plan = match state.deadline() {
            Deadline::None | Deadline::Suspected => {
                self.record_reason(cause.reason);
                false
            }
            Deadline::At(end) => {
                let is_over = config.clock.has_come(end, &mut LazyNow::default());
                !is_over && config.probes.probes_cooldowns
            }
            Deadline::Permanent | Deadline::Disabled => true,
        };
        if suspicion.count == 1 && !has_plan {
            let due = config.next_probe(0, &mut LazyNow::default());
            let probes = &self.cell.probes;
            probes.update(state, |plan| (plan.doublings, plan.due) = (0, due));
        }
        self.show_suspicion();
        suspicion
    }

    /// Records a refusal of access, which does not concern the limit unless
    /// [`settle_doubt`](Self::settle_doubt) confirms it.
    pub(in crate::pool) fn doubt(&self) -> Suspicion {
        self.trust.suspect()
    }

    /// Returns whether no request has succeeded since the refusal.
    pub(in crate::pool) fn settle_doubt(&self, doubt: Suspicion) -> bool {
        self.trust.convict(doubt)
    }

    /// Marks the limit permanently if the suspicion still applies.
    pub(in crate::pool) fn convict(
        &self,
        config: &LimitConfig,
        seen: StateValue,
        suspicion: Suspicion,
        cause: Cause,
    ) -> Marked {
        if !self.trust.convict(suspicion) {
            return Marked::Unchanged;
        }
        let marked = self.mark_permanently(config, seen, cause);
        self.show_suspicion();
        marked
    }

    /// Makes the state show whether there is a suspicion, so that the common path does not have to
    /// read the trust as well.
    pub(super) fn show_suspicion(&self) {
        loop {
            // Whoever changes one of the two last sees the other's last value here.
            let is_suspected = self.trust.is_suspected_at_last();
            let seen = self.cell.state.latest();
            match (seen.deadline(), is_suspected) {
                (Deadline::None, true) | (Deadline::Suspected, false) => {
                    self.cell.state.set_suspected(seen, is_suspected);
                }
                _ => return,
            }
            // Another thread may have changed the trust in between.
        }
    }

    /// Whether a suspected limit is due for a probe.
    pub(in crate::pool) fn is_suspect_due(&self, config: &LimitConfig, now: &mut LazyNow) -> bool {
        self.is_suspect_due_in(self.value(), config, now)
    }

    /// The same for a limit in `state`.
    pub(super) fn is_suspect_due_in(
        &self,
        state: StateValue,
        config: &LimitConfig,
        now: &mut LazyNow,
    ) -> bool {
        let is_usable = match state.deadline() {
            Deadline::None | Deadline::Suspected => true,
            Deadline::At(end) => config.clock.has_come(end, now),
            Deadline::Permanent | Deadline::Disabled => false,
        };
        config.probes.after.is_some()
            && is_usable
            && self.suspicions() > 0
            && config.is_due(self.cell.probes.plan(state), now)
    }
}
