//! One key: its secret, and whether it may be used.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::clock::LazyNow;
use super::events::{KeyName, PoolEvent};
use super::gate::{Gate, Standing};
use super::reason::{Cause, Reason};
use super::rules::Rules;
use super::secret::Secret;
use super::shared::Shared;
use super::state::{KeyState, Marked};
use super::usage::Usage;

/// A key as it stands in a list. What belongs to the key itself is shared with the lists before and
/// after.
// Aligned, so that what one thread counts lies beside nothing that another one needs.
#[derive(Clone)]
#[repr(align(64))]
pub(super) struct Slot {
    pub(super) core: Arc<Core>,
    pub(super) label: Option<Arc<str>>,
    pub(super) group: Option<Arc<Group>>,
    pub(super) shared: Arc<Shared>,
}

/// What a key is, whatever list it stands in.
pub(super) struct Core {
    pub(super) gate: Gate,
    pub(super) secret: Secret,
    pub(super) usage: Option<Box<Usage>>,
}

/// Keys of one organisation or project, which share a limit.
pub(super) struct Group {
    pub(super) name: Arc<str>,
    pub(super) gate: Gate,
}

/// The generations under which a key was handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Generations {
    pub(super) own: u32,
    pub(super) group: u32,
}

impl Slot {
    /// Its own gate, and that of its group.
    pub(super) fn gates(&self) -> impl Iterator<Item = &Gate> {
        let group = self.group.as_deref().map(|group| &group.gate);
        std::iter::once(&self.core.gate).chain(group)
    }

    #[inline]
    pub(super) fn generations(&self) -> Generations {
        Generations {
            own: self.core.gate.stamp().generation(),
            group: self
                .group
                .as_deref()
                .map_or(0, |group| group.gate.stamp().generation()),
        }
    }

    /// Whether it was never put out, nor was its group.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.group.is_none() && self.core.gate.is_open()
    }

    /// What it is to a request: the worse of its own gate and its group's.
    pub(super) fn standing(&self, rules: &Rules, now: &mut LazyNow) -> Standing {
        let own = self.core.gate.standing(rules, now);
        match &self.group {
            None => own,
            Some(group) => own.max(group.gate.standing(rules, now)),
        }
    }

    /// The later of its own and its group's.
    pub(super) fn state(&self, now: &mut LazyNow) -> KeyState {
        self.gates()
            .map(|gate| gate.state(&self.shared.rules, now))
            .max()
            .unwrap_or(KeyState::Valid)
    }

    /// In how long it is due, or has returned, by its own gate and its group's. `None` where that
    /// never comes, or has come.
    pub(super) fn due_in(&self, now: &mut LazyNow) -> Option<Duration> {
        let rules = &self.shared.rules;
        let mut gates = self.gates();
        let due_in = gates.try_fold(Duration::ZERO, |latest, gate| {
            Some(latest.max(gate.due_in(rules, now)?))
        });
        due_in.filter(|due_in| !due_in.is_zero())
    }

    pub(super) fn mark_temporary(
        &self,
        generations: Generations,
        wait: Option<Duration>,
        cause: Cause,
    ) -> Marked {
        let rules = &self.shared.rules;
        let own = &self.core.gate;
        let Some(group) = &self.group else {
            let (marked, wait) = own.put_out(rules, generations.own, wait, cause);
            self.note_mark(marked, KeyState::Temporary { retry_after: wait }, cause);
            return marked;
        };
        let (marked, wait) = group.gate.put_out(rules, generations.group, wait, cause);
        // Of the group, whatever it is to this key.
        self.note_mark(marked, KeyState::Temporary { retry_after: wait }, cause);
        match (marked, own.state(rules, &mut LazyNow::default())) {
            (_, KeyState::Valid) | (Marked::Unchanged, _) => marked,
            (_, KeyState::Temporary { retry_after }) if retry_after < wait => Marked::Extended,
            (_, KeyState::Temporary { .. } | KeyState::Permanent) => Marked::Unchanged,
        }
    }

    pub(super) fn suspect(&self, generations: Generations, cause: Cause) {
        let rules = &self.shared.rules;
        let wait = Some(rules.default_cooldown);
        let own = &self.core.gate;
        let (marked, wait) = own.put_out(rules, generations.own, wait, cause);
        self.note_mark(marked, KeyState::Temporary { retry_after: wait }, cause);
    }

    pub(super) fn mark_permanent(&self, generations: Generations, cause: Cause) -> Marked {
        let gate = &self.core.gate;
        let marked = gate.put_out_for_good(&self.shared.rules, generations.own, cause);
        self.note_mark(marked, KeyState::Permanent, cause);
        marked
    }

    #[inline]
    pub(super) fn served(&self, generations: Generations, is_success: bool) {
        let rules = &self.shared.rules;
        if rules.growth.is_some() && is_success {
            self.core.gate.succeeded(rules, generations.own);
            if let Some(group) = &self.group {
                group.gate.succeeded(rules, generations.group);
            }
        }
        if let Some(usage) = &self.core.usage {
            usage.served(rules.clock);
        }
    }

    pub(super) fn refused(&self, reason: Reason) {
        if let Some(usage) = &self.core.usage {
            usage.refused(self.shared.rules.clock, reason);
        }
    }

    /// What is to be done once a gate was marked.
    pub(super) fn note_mark(&self, marked: Marked, state: KeyState, cause: Cause) {
        self.tell_mark(marked, state, cause);
        if marked != Marked::Unchanged {
            // Who waits for it may wait in vain.
            self.shared.line.stir_any();
        }
    }

    pub(super) fn tell_mark(&self, marked: Marked, state: KeyState, cause: Cause) {
        if marked != Marked::Unchanged {
            self.shared.tell(|| PoolEvent::Marked {
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
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("hint", &self.core.secret.hint())
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}
