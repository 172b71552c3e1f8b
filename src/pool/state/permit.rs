//! What an attempt holds of a limit that is not fully open: a probe, or an admission.

use super::atomic_state::{Deadline, StateValue};
use super::config::LimitConfig;
use super::limit::{Limit, PAST};
use super::probe_schedule::ProbeToken;
use super::reopening::{Admission, Admitted};
use crate::pool::clock::LazyNow;
use crate::pool::reason::Reason;

/// One attempt's permission to use a limit that is not fully open.
#[derive(Clone, Copy, Debug)]
pub(in crate::pool) enum Permit {
    Probe(LimitProbe),
    Admission(Admission),
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
}

/// Which permits [`Limit::take`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pool) enum Terms {
    /// Admissions within the allowance.
    Usable,
    /// Admissions, also beyond the allowance.
    Exceeding,
    /// Probes that are due, and admissions within the allowance.
    ProbeIfDue,
    /// Probes, also before they are due, because no key of the pool is usable.
    Probe,
}

/// The result of [`Limit::take`].
#[derive(Clone, Copy, Debug)]
pub(in crate::pool) enum Taken {
    Permit(Permit),
    /// The limit is open and needs no permit.
    Open,
    /// The limit is closed, another request is probing it, or its allowance is used up.
    Refused,
}

impl Permit {
    pub(super) fn seen(self) -> StateValue {
        match self {
            Self::Probe(probe) => probe.seen,
            Self::Admission(admission) => admission.seen(),
        }
    }
}

impl Limit {
    /// Whether another request is probing the limit.
    #[cfg(all(test, tower_key_failover_loom))]
    pub(in crate::pool) fn is_taken(&self, config: &LimitConfig, now: &mut LazyNow) -> bool {
        let plan = self.cell.probes.plan(self.value());
        plan.taken && !config.is_due(plan, now)
    }

    /// How often the interval of its probes has doubled since its mark, plus one while a probe is in
    /// progress or has expired.
    pub(in crate::pool) fn failed_probes(&self) -> u32 {
        let plan = self.cell.probes.plan(self.value());
        plan.doublings + u32::from(plan.taken)
    }

    /// Takes what an attempt needs to use the limit.
    pub(in crate::pool) fn take(
        &self,
        config: &LimitConfig,
        terms: Terms,
        now: &mut LazyNow,
    ) -> Taken {
        let probes = matches!(terms, Terms::ProbeIfDue | Terms::Probe);
        let mut seen = self.value();
        if let Deadline::At(end) = seen.deadline()
            && config.clock.has_come(end, now)
            && !(probes && self.is_suspect_due_in(seen, config, now))
        {
            let (state, exceeds) = (&self.cell.state, terms == Terms::Exceeding);
            match self
                .reopening
                .admit(state, seen, exceeds, config.clock, now)
            {
                Admitted::Yes(admission) => return Taken::Permit(Permit::Admission(admission)),
                Admitted::No => return Taken::Refused,
                Admitted::Changed => {
                    self.show_suspicion();
                    seen = self.value();
                }
            }
        }
        match seen.deadline() {
            _ if probes => self.take_probe(config, seen, terms == Terms::Probe, now),
            Deadline::None | Deadline::Suspected => Taken::Open,
            Deadline::At(_) | Deadline::Permanent | Deadline::Disabled => Taken::Refused,
        }
    }

    fn take_probe(
        &self,
        config: &LimitConfig,
        seen: StateValue,
        forced: bool,
        now: &mut LazyNow,
    ) -> Taken {
        let plan = self.cell.probes.plan(seen);
        let is_taken = plan.taken && !config.is_due(plan, now);
        let is_due = !is_taken && (forced || config.is_due(plan, now));
        let kind = match seen.deadline() {
            Deadline::None => return Taken::Open,
            Deadline::Suspected if is_due => ProbeKind::Suspected,
            Deadline::Suspected => return Taken::Open,
            Deadline::At(end) if is_due && config.clock.has_come(end, now) => ProbeKind::Suspected,
            Deadline::At(_) if is_due && config.probes.probes_cooldowns => ProbeKind::CoolingDown,
            Deadline::Permanent if is_due => ProbeKind::Permanent,
            Deadline::At(_) | Deadline::Permanent | Deadline::Disabled => return Taken::Refused,
        };
        let expires = config.probe_expires(now);
        match self.cell.probes.take(seen, plan, expires) {
            Some(token) => {
                config.pool_probes.is_due_at(self.probe_due_at(config));
                Taken::Permit(Permit::Probe(LimitProbe { seen, token, kind }))
            }
            None => Taken::Refused,
        }
    }

    /// Ends a probe that proved that the key works. `returned` says whether the limit was closed until
    /// then. A newer mark survives.
    pub(super) fn probe_succeeded(&self, probe: LimitProbe, returned: bool, config: &LimitConfig) {
        if returned || probe.kind == ProbeKind::Suspected {
            self.cell.probes.finish(probe.token, |plan| plan.due = 0);
        } else {
            self.drop_probe(probe, config);
        }
    }

    /// Ends a permit without a success. If the key was `refused` for the same reason as before, the
    /// interval of its probes doubles.
    pub(in crate::pool) fn end(
        &self,
        permit: Permit,
        config: &LimitConfig,
        refused: Option<Reason>,
    ) {
        let probe = match permit {
            Permit::Probe(probe) => probe,
            Permit::Admission(admission) => return self.end_admission(admission, config),
        };
        let is_same = refused.is_some() && refused == self.reason();
        if let Some(reason) = refused {
            self.record_reason(reason);
        }
        self.cell.probes.finish(probe.token, |plan| {
            plan.doublings += u32::from(is_same);
            plan.due = config.next_probe(plan.doublings, &mut LazyNow::default());
        });
        config.pool_probes.is_due_at(self.probe_due_at(config));
    }

    /// Makes a permanently marked limit due for a probe. Returns whether it is.
    pub(in crate::pool) fn probe_now(&self, config: &LimitConfig) -> bool {
        let state = self.value();
        let is_probed = state.deadline() == Deadline::Permanent && config.probes.after.is_some();
        if is_probed {
            let probes = &self.cell.probes;
            probes.update(state, |plan| (plan.doublings, plan.due) = (0, PAST));
            config.pool_probes.is_due_at(self.probe_due_at(config));
        }
        is_probed
    }

    /// Gives back a permit without a result. The next request can use it.
    pub(in crate::pool) fn give_back(&self, permit: Permit, config: &LimitConfig) {
        match permit {
            Permit::Probe(probe) => self.drop_probe(probe, config),
            Permit::Admission(admission) => self.end_admission(admission, config),
        }
    }

    fn end_admission(&self, admission: Admission, config: &LimitConfig) {
        let (state, now) = (&self.cell.state, &mut LazyNow::default());
        if self
            .reopening
            .end(state, admission, false, config.clock, now)
        {
            self.show_suspicion();
        }
    }

    fn drop_probe(&self, probe: LimitProbe, config: &LimitConfig) {
        self.cell.probes.finish(probe.token, |plan| plan.due = PAST);
        config.pool_probes.is_due_at(self.probe_due_at(config));
    }
}
