use std::sync::Arc;

use super::KeyPool;
use super::clock::LazyNow;
use super::reason::Reason;
use super::slot::Slot;
use super::state::KeyState;
use super::usage::KeyUsage;

/// A pool as it stood at one moment, for people and machines that watch it. It holds no key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolSnapshot {
    /// The pool's name.
    pub name: Box<str>,
    /// Its keys, in order.
    pub keys: Vec<KeySnapshot>,
}

/// A key as it stood at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeySnapshot {
    /// Its label, if it has one.
    pub label: Option<Arc<str>>,
    /// Its ends.
    pub hint: Box<str>,
    /// The group that it belongs to, if any.
    pub group: Option<Arc<str>>,
    /// Whether it may be used, and if not for how long.
    pub state: KeyState,
    /// Why it, or its group, was last put out, if it ever was.
    pub reason: Option<Reason>,
    /// How much it was used, where the pool
    /// [counts that](super::KeyPoolBuilder::track_usage).
    pub usage: Option<KeyUsage>,
}

impl KeyPool {
    /// The pool as it stands now.
    ///
    /// Each key is read once, so that the whole may fall between two marks.
    pub fn snapshot(&self) -> PoolSnapshot {
        let mut now = LazyNow::default();
        let list = self.inner.list();
        PoolSnapshot {
            name: self.name().into(),
            keys: list
                .slots
                .iter()
                .map(|slot| slot.snapshot(&mut now))
                .collect(),
        }
    }
}

impl Slot {
    fn snapshot(&self, now: &mut LazyNow) -> KeySnapshot {
        let rules = &self.shared.rules;
        let marked = self.gates().filter(|gate| gate.reason().is_some());
        let last = marked.reduce(|own, group| {
            if group.state(rules, now) > own.state(rules, now) {
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
            reason: last.and_then(super::gate::Gate::reason),
            usage: usage.map(|usage| usage.read(rules.clock, now)),
        }
    }
}
