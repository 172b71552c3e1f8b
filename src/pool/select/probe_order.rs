//! Probes follow the selection order: a request that reaches a key which is due for a probe probes
//! it, and continues with the keys after it if it is refused.

use super::pick::Selector;
use crate::pool::pooled_key::PooledKey;
use crate::pool::probe::Probe;
use crate::pool::state::Availability;

impl<F: Fn(&PooledKey) -> bool> Selector<'_, F> {
    /// Probes the key at `at` if the request can continue with a valid key after it.
    pub(super) fn probe_before_valid(
        &mut self,
        at: usize,
        last_valid: &mut Option<Option<usize>>,
    ) -> Option<Box<Probe>> {
        if !self.request.can_continue {
            return None;
        }
        let last_valid = *last_valid.get_or_insert_with(|| self.last_valid(&self.tried));
        if last_valid <= Some(at) {
            return None;
        }
        Probe::take(&self.list.keys[at], &mut self.now)
    }

    /// Probes the first key that is due, if no key is valid.
    pub(super) fn probe_without_alternative(
        &mut self,
        from: usize,
    ) -> Option<(usize, Option<Box<Probe>>)> {
        if self.config.probe_after.is_none() || self.last_valid(|_| false).is_some() {
            return None;
        }
        let mut keys = self.list.keys.iter().enumerate().skip(from);
        keys.find_map(|(at, key)| {
            let probe = (!(self.tried)(key)).then(|| Probe::take(key, &mut self.now))??;
            Some((at, Some(probe)))
        })
    }

    fn last_valid(&self, excluded: impl Fn(&PooledKey) -> bool) -> Option<usize> {
        let mut now = self.now;
        let mut keys = self.list.keys.iter();
        keys.rposition(|key| key.availability(&mut now) < Availability::ProbeDue && !excluded(key))
    }
}
