//! What all keys of a pool have in common, whichever list they stand in.

use super::events::{Listeners, PoolEvent};
use super::line::Line;
use super::rules::Rules;

pub(super) struct Shared {
    pub(super) rules: Rules,
    /// Those who wait for a key.
    pub(super) line: Line,
    pub(super) listeners: Listeners,
}

impl Shared {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            line: Line::new(rules.max_waiters),
            listeners: Listeners::default(),
            rules,
        }
    }

    /// Tells whoever listens. Never called where nothing has happened.
    pub(super) fn tell(&self, event: impl FnOnce() -> PoolEvent) {
        self.listeners.tell(&self.rules.name, event);
    }
}
