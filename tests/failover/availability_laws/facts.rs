//! What an observer knows about each limit from the responses and from what operators did.

use std::collections::HashMap;

use super::operation::Groups;

/// A key or a group as long as it is in the pool. One that is added again is a new one.
pub type LimitId = usize;

/// All times are in milliseconds since the start.
#[derive(Clone, Debug, Default)]
pub struct Limit {
    /// It cools down until then.
    pub until: u64,
    pub is_permanent: bool,
    pub is_disabled: bool,
    /// The number of the last event that marked it.
    pub marked_at: u64,
    /// Attempts that began before this event cannot mark it.
    pub began_at: u64,
    /// Since when no mark applies.
    pub open_since: u64,
    /// Whether it never cooled down since it was added or returned from a permanent mark.
    pub never_cooled: bool,
    /// Attempts since the last cooldown that succeeded or were not refused for a while.
    pub proofs: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub key: usize,
    pub own: LimitId,
    pub group: Option<(u8, LimitId)>,
}

#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub limits: HashMap<LimitId, Limit>,
    pub list: Vec<Slot>,
    next: LimitId,
    /// The number of the current event.
    pub event: u64,
}

/// An attempt under way.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub key: usize,
    pub slot: Slot,
    /// The number of the event in which it began, and its time.
    pub event: u64,
    pub began: u64,
    /// Whether a mark applied to the key.
    pub is_probe: bool,
}

impl Slot {
    pub fn limits(self) -> impl Iterator<Item = LimitId> + Clone {
        std::iter::once(self.own).chain(self.group.map(|(_, id)| id))
    }
}

impl Limit {
    pub fn is_open(&self, now: u64) -> bool {
        !self.is_disabled && !self.is_permanent && self.until <= now
    }
}

impl Facts {
    pub fn slot(&self, key: usize) -> Option<Slot> {
        self.list.iter().find(|slot| slot.key == key).copied()
    }

    /// Since when the key and its group are open, or `None`.
    pub fn open_since(&self, slot: Slot, now: u64) -> Option<u64> {
        let since = slot.limits().map(|id| {
            let limit = &self.limits[&id];
            limit
                .is_open(now)
                .then_some(limit.open_since.max(limit.until))
        });
        since.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    pub fn replace(&mut self, keys: &[usize], groups: &Groups, now: u64) {
        let old = std::mem::take(&mut self.list);
        for &key in keys {
            let own = old.iter().find(|slot| slot.key == key).map(|slot| slot.own);
            let own = own.unwrap_or_else(|| self.add(now));
            let group = groups[key].map(|name| {
                let known = old.iter().chain(&self.list).filter_map(|slot| slot.group);
                let known = known.clone().find(|(known, _)| *known == name);
                known.unwrap_or_else(|| (name, self.add(now)))
            });
            let slot = Slot { key, own, group };
            // Another group may have been closed until now.
            if old.iter().find(|slot| slot.key == key) != Some(&slot) {
                self.limits.get_mut(&own).unwrap().open_since = now;
            }
            self.list.push(slot);
        }
    }

    fn add(&mut self, now: u64) -> LimitId {
        self.next += 1;
        let limit = Limit {
            open_since: now,
            never_cooled: true,
            began_at: self.event,
            ..Limit::default()
        };
        self.limits.insert(self.next, limit);
        self.next
    }

    pub fn reinstate(&mut self, key: usize, now: u64) {
        for id in self.slot(key).into_iter().flat_map(Slot::limits) {
            let limit = self.limits.get_mut(&id).unwrap();
            *limit = Limit {
                open_since: now,
                never_cooled: true,
                began_at: self.event,
                ..Limit::default()
            };
        }
    }

    pub fn disable(&mut self, key: usize) {
        if let Some(slot) = self.slot(key) {
            let limit = self.limits.get_mut(&slot.own).unwrap();
            limit.is_disabled = true;
            limit.marked_at = self.event;
        }
    }

    /// The attempt is rate-limited. That proves that the key works, if it was permanently marked before
    /// the attempt.
    ///
    /// If the key or its group returned to service after the attempt began, it has no effect. When a
    /// key was removed, only its group matters.
    pub fn rate_limited(&mut self, attempt: &Attempt, seconds: u64, now: u64) {
        let own = attempt.slot.own;
        let is_listed = self.list.iter().any(|slot| slot.own == own);
        let mut limits = attempt.slot.limits().filter(|id| is_listed || *id != own);
        if limits.any(|id| attempt.event < self.limits[&id].began_at) {
            return;
        }
        for id in attempt.slot.limits() {
            let event = self.event;
            let limit = self.limits.get_mut(&id).unwrap();
            if limit.is_permanent && limit.marked_at < attempt.event {
                limit.is_permanent = false;
                limit.began_at = event;
                limit.until = 0;
            }
            let end = now + 1000 * seconds;
            if !limit.is_permanent && !limit.is_disabled && end > limit.until {
                limit.until = end;
                limit.marked_at = event;
                limit.never_cooled = false;
                limit.proofs = 0;
            }
        }
    }

    /// The attempt ends in another way than with a rate limit.
    pub fn proved(&mut self, attempt: &Attempt) {
        for id in attempt.slot.limits() {
            self.limits.get_mut(&id).unwrap().proofs += 1;
        }
    }

    pub fn revoked(&mut self, attempt: &Attempt) {
        let event = self.event;
        let limit = self.limits.get_mut(&attempt.slot.own).unwrap();
        if attempt.event >= limit.began_at && !limit.is_permanent {
            limit.is_permanent = true;
            limit.marked_at = event;
        }
    }

    /// The attempt succeeds. No mark that is older than the attempt applies any more.
    pub fn succeeded(&mut self, attempt: &Attempt, now: u64) {
        for id in attempt.slot.limits() {
            let event = self.event;
            let limit = self.limits.get_mut(&id).unwrap();
            if attempt.event < limit.began_at || limit.marked_at >= attempt.event {
                continue;
            }
            if !limit.is_open(now) {
                limit.open_since = now;
            }
            if limit.is_permanent {
                limit.is_permanent = false;
                limit.began_at = event;
                limit.never_cooled = true;
            }
            limit.until = limit.until.min(now);
        }
    }
}
