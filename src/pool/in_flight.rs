//! Counts the requests in flight with a key or a group, and limits them.
//!
//! There are counters only for keys and groups with a cap, and for all keys if the selection needs the
//! counts. Requests with other keys write nothing.

use std::sync::{Arc, OnceLock};

use super::key_settings::KeySettings;
use super::pooled_key::{Group, KeyCore, PooledKey};
use super::shared::PoolConfig;
use crate::sync::atomic::{AtomicU32, Ordering};

/// The number of requests in flight with a key or a group. It outlives reloads.
// Aligned to the pairs of cache lines that processors prefetch, because each request writes to it.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct InFlightCounter(AtomicU32);

impl InFlightCounter {
    #[inline]
    pub(super) fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds a request, unless there are `max` already.
    pub(super) fn add(&self, max: Option<u32>) -> bool {
        let Some(max) = max else {
            self.0.fetch_add(1, Ordering::Relaxed);
            return true;
        };
        // Never above the cap, not even for a moment: other requests would be turned away.
        let below = |count| (count < max).then_some(count + 1);
        let added = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, below);
        added.is_ok()
    }

    pub(super) fn remove(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one key or group allows.
#[derive(Clone)]
pub(super) struct Capacity {
    pub(super) counter: Arc<InFlightCounter>,
    /// `None`: requests are only counted.
    pub(super) max: Option<u32>,
}

impl Capacity {
    #[inline]
    fn is_full(&self) -> bool {
        self.max.is_some_and(|max| self.counter.count() >= max)
    }
}

/// The capacities of a key: its own and its group's.
#[derive(Clone)]
pub(super) struct Capacities {
    pub(super) own: Option<Capacity>,
    pub(super) group: Option<Capacity>,
}

impl Capacities {
    /// The capacities of a key with these settings. `None` if its requests are not counted.
    pub(super) fn of(
        core: &KeyCore,
        settings: &KeySettings,
        group: Option<&Group>,
        config: &PoolConfig,
    ) -> Option<Self> {
        let capacity = |counter: &OnceLock<_>, max| Capacity {
            counter: Arc::clone(counter.get_or_init(Arc::default)),
            max,
        };
        let max = settings.max_in_flight;
        let is_counted = max.is_some() || config.selection.counts_in_flight();
        let own = is_counted.then(|| capacity(&core.in_flight, max));
        let group = group.and_then(|group| {
            let max = config.group_caps.get(&group.name)?;
            Some(capacity(&group.in_flight, Some(*max)))
        });
        (own.is_some() || group.is_some()).then_some(Self { own, group })
    }

    fn all(&self) -> impl Iterator<Item = &Capacity> {
        self.own.iter().chain(&self.group)
    }

    /// Whether the key or its group is at its cap.
    pub(super) fn is_full(&self) -> bool {
        self.all().any(Capacity::is_full)
    }

    /// Whether a request may have to wait for another one to end.
    pub(super) fn is_capped(&self) -> bool {
        self.all().any(|capacity| capacity.max.is_some())
    }

    /// Adds a request to both counters, or to none.
    pub(super) fn add(&self) -> bool {
        let mut added = self.all();
        let full = added.find(|capacity| !capacity.counter.add(capacity.max));
        let Some(full) = full else {
            return true;
        };
        let before = self.all().take_while(|other| !std::ptr::eq(*other, full));
        before.for_each(|capacity| capacity.counter.remove());
        false
    }

    pub(super) fn remove(&self) {
        self.all().for_each(|capacity| capacity.counter.remove());
    }
}

/// A request in flight. It counts until this is dropped.
pub(crate) struct InFlight {
    key: Arc<PooledKey>,
}

/// The key or its group is at its cap.
#[derive(Debug)]
pub(super) struct AtCap;

impl InFlight {
    /// Counts a request with `key`, unless the requests with it are not counted.
    pub(super) fn begin(key: &Arc<PooledKey>) -> Result<Option<Self>, AtCap> {
        let Some(capacities) = key.capacities.as_deref() else {
            return Ok(None);
        };
        if capacities.add() {
            let key = Arc::clone(key);
            return Ok(Some(Self { key }));
        }
        // Another request may have seen the key at its cap because of this one.
        key.shared.queue.wake_for(key);
        Err(AtCap)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(capacities) = self.key.capacities.as_deref() {
            capacities.remove();
            // Even if there was no cap: a reload may have set one.
            self.key.shared.queue.wake_for(&self.key);
        }
    }
}
