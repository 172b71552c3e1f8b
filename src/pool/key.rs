use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::clock::LazyNow;
use super::reason::{Cause, Reason};
use super::slot::{Generations, Slot};
use super::state::{KeyState, Marked};

/// A handle to one key of a pool.
///
/// It remembers the generation under which it was handed out: once the key has been returned to
/// service by other means, a mark through an older handle changes nothing.
///
/// A key that was removed from its pool stays usable through the handles that there are: a request
/// under way finishes with it.
///
/// `Debug` shows the hint and the label, never the key.
#[derive(Clone)]
pub struct Key {
    slot: Arc<Slot>,
    generations: Generations,
    position: u32,
}

impl Key {
    #[inline]
    pub(super) fn new(slot: &Arc<Slot>, position: usize) -> Self {
        Self {
            slot: Arc::clone(slot),
            generations: slot.generations(),
            position: position as u32,
        }
    }

    /// The key's ends, for people: `sk-a...efgh`. The shorter the key, the less is shown.
    pub fn hint(&self) -> &str {
        self.slot.core.secret.hint()
    }

    /// The label given to the builder.
    pub fn label(&self) -> Option<&str> {
        self.slot.label.as_deref()
    }

    /// The group that the key belongs to, if any.
    pub fn group(&self) -> Option<&str> {
        self.slot.group.as_deref().map(|group| &*group.name)
    }

    /// The key's position in the pool, from 0, when the handle was made.
    pub fn index(&self) -> usize {
        self.position as usize
    }

    /// The key's state now: the later of its own and its group's. One that was removed from its pool
    /// is permanently out.
    pub fn state(&self) -> KeyState {
        self.slot.state(&mut LazyNow::default())
    }

    /// The key itself. Handle with care.
    pub fn expose_secret(&self) -> &str {
        self.slot.core.secret.expose()
    }

    /// The key as a header value, marked sensitive. Prebuilt: a clone counts a reference.
    pub fn header_value(&self) -> HeaderValue {
        self.slot.core.secret.header_value().clone()
    }

    /// `Bearer` and the key as a header value, marked sensitive. Prebuilt: a clone counts a
    /// reference.
    pub fn bearer(&self) -> HeaderValue {
        self.slot.core.secret.bearer().clone()
    }

    /// Puts the key out for `wait`; `None` or zero is the pool's default cooldown. A wait above
    /// the pool's maximum is cut to it. A key in a group puts its group out.
    ///
    /// A cooldown is never shortened, and a key that is out for good stays so.
    pub fn mark_temporary(&self, wait: Option<Duration>) -> Marked {
        self.put_out(wait, Cause::of(Reason::Other))
    }

    /// Puts the key out for good.
    pub fn mark_permanent(&self) -> Marked {
        self.put_out_for_good(Cause::of(Reason::Other))
    }

    pub(crate) fn put_out(&self, wait: Option<Duration>, cause: Cause) -> Marked {
        self.slot.mark_temporary(self.generations, wait, cause)
    }

    pub(crate) fn put_out_for_good(&self, cause: Cause) -> Marked {
        self.slot.mark_permanent(self.generations, cause)
    }

    /// Puts the key out for the default cooldown, and not its group: it may turn out to be for good,
    /// which is a matter of the key alone.
    pub(crate) fn suspect(&self, cause: Cause) {
        self.slot.suspect(self.generations, cause);
    }

    /// Takes note of an answer that goes to a caller.
    #[inline]
    pub(crate) fn served(&self, is_success: bool) {
        self.slot.served(self.generations, is_success);
    }

    /// Takes note of an answer that refused the key, whatever mark that left.
    pub(crate) fn refused(&self, reason: Reason) {
        self.slot.refused(reason);
    }

    /// Whether the key is no longer in its pool.
    pub(crate) fn is_removed(&self) -> bool {
        self.slot.core.gate.is_removed()
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.is_of(&other.slot)
    }

    pub(super) fn is_of(&self, slot: &Slot) -> bool {
        Arc::ptr_eq(&self.slot.core, &slot.core)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("hint", &self.hint())
            .field("label", &self.label())
            .field("state", &self.state())
            .finish()
    }
}
