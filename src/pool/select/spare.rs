//! Whether a request can continue with another key than the one that it uses.

use super::pick::Selector;
use super::walk::Walk;
use crate::pool::key::Key;
use crate::pool::pooled_key::PooledKey;
use crate::pool::state::Availability;

impl<F: Fn(&PooledKey) -> bool> Selector<'_, F> {
    /// Whether the request can use or probe another key than `key`.
    pub(in crate::pool) fn has_more(&mut self, key: &Key) -> bool {
        let walk = Walk::new(0, self.list.keys.len());
        self.has_usable(walk, Some(key), !self.request.has_probed)
    }

    /// Whether the request can use another key than the first.
    #[inline]
    pub(super) fn has_usable_spare(&mut self) -> bool {
        match self.list.keys.get(1) {
            None => false,
            // The usual case.
            Some(second)
                if self.is_free_to_use(second) && second.is_open() && !(self.tried)(second) =>
            {
                true
            }
            Some(_) => self.has_usable(Walk::to_end(1, self.list.keys.len()), None, true),
        }
    }

    /// Whether the keys of `walk` include one that the request can use or probe. One at its cap
    /// counts, because it may have room when it is needed.
    pub(super) fn has_usable(&mut self, walk: Walk, except: Option<&Key>, may_probe: bool) -> bool {
        let mut soonest = u64::MAX;
        self.has_other(walk, except, may_probe, |this, walk| this.next_open(walk, |_| false))
            // Last, because it reads the clock.
            || may_probe
                && self.config.probes.after.is_some()
                && self.is_any_probe_due()
                && self.has_other(walk, except, may_probe, |this, walk| {
                    this.next_open_or_due(walk, &mut soonest)
                })
    }

    /// Whether one of the keys that `next` finds is another one that the request can use or probe.
    fn has_other(
        &mut self,
        mut walk: Walk,
        except: Option<&Key>,
        may_probe: bool,
        mut next: impl FnMut(&mut Self, &mut Walk) -> Option<usize>,
    ) -> bool {
        let is_other = |key: &PooledKey| !except.is_some_and(|except| except.is_handle_of(key));
        while let Some(at) = next(self, &mut walk) {
            let key = &self.list.keys[at];
            let limits = key.limits_for(self.scope());
            let is_usable = match limits.availability(&mut self.now) {
                Availability::Open | Availability::Reopening => true,
                Availability::ProbeDue => may_probe,
                Availability::Closed => false,
            };
            if is_usable && is_other(key) && !(self.tried)(key) {
                return true;
            }
        }
        false
    }

    fn is_any_probe_due(&mut self) -> bool {
        let earliest = self.config.pool_probes.earliest_due();
        earliest != u64::MAX && self.config.clock.has_come(earliest, &mut self.now)
    }
}
