//! A key is checked again once the service is ready, which can take a while.

use super::{Exchange, scope_in};
use crate::pool::{KeyCheck, Probe};

impl<S, P, B> Exchange<S, P, B> {
    /// Replaces a key that was removed or disabled since it was taken. Replaces one that was marked if
    /// another key is usable, and otherwise uses it. Returns `None` if no key is left.
    pub(super) fn check_key(&mut self) -> Option<()> {
        let can_continue = self.is_replayable_so_far();
        let mut was_replaced = false;
        match self.key().check(self.scope()) {
            KeyCheck::Usable => {}
            KeyCheck::Marked if self.probes_a_mark() => {}
            KeyCheck::Marked => {
                was_replaced = self.take_key(can_continue);
                if !was_replaced {
                    // If it succeeds after all, that counts. Its place among the attempts with a
                    // reopening key is older than the mark.
                    let current = self.current.as_mut()?;
                    current.probe = None;
                    current.key.renew(scope_in(&self.progress));
                }
            }
            KeyCheck::Withdrawn => {
                // What the request holds of it ends before it takes another key.
                self.current = None;
                self.end_in_flight();
                self.take_key(can_continue).then_some(())?;
            }
        }
        let has_more = self
            .pool()
            .has_more(self.key(), self.pick_request(false), self.tried());
        // The replaced key has not been tried, and can return.
        self.current.as_mut()?.has_more = has_more || was_replaced;
        Some(())
    }

    fn probes_a_mark(&self) -> bool {
        let current = self.current.as_ref();
        let probe = current.and_then(|current| current.probe.as_deref());
        probe.is_some_and(Probe::is_of_doubtful_key)
    }
}
