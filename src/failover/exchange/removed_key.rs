//! A key that was removed from the pool starts no attempt.

use super::Exchange;
use crate::pool::KeyCheck;

impl<S, P, B> Exchange<S, P, B> {
    /// Takes another key if the one taken for the next attempt was removed from the pool while the
    /// service was made ready. Returns `None` if no key is left.
    pub(super) fn skip_removed_key(&mut self) -> Option<()> {
        match self.key().check() {
            KeyCheck::Usable => {}
            // Its success then proves that it works.
            KeyCheck::Marked => self.current.as_mut()?.key.renew(),
            KeyCheck::Withdrawn => {
                return self.take_key(self.is_replayable_so_far()).then_some(());
            }
        }
        let has_more = self
            .pool()
            .has_more(self.key(), self.pick_request(true), self.tried());
        self.current.as_mut()?.has_more = has_more;
        Some(())
    }
}
