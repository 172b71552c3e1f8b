//! Picking a key for one attempt.

use super::list::KeyList;
use crate::pool::clock::LazyNow;
use crate::pool::key::Key;
use crate::pool::pooled_key::PooledKey;
use crate::pool::probe::Probe;
use crate::pool::state::{Availability, LimitConfig};

/// What the pool has to know about a request that needs a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PickRequest<'a> {
    /// The last key that the request tried.
    pub(crate) after: Option<&'a Key>,
    /// Whether it can continue with another key if this one is refused.
    pub(crate) can_continue: bool,
    /// Whether it has waited. Requests that have waited use a reopened key one at a time.
    pub(crate) has_waited: bool,
    /// Whether it may wait. Such requests leave a reopened key to those that wait.
    pub(crate) may_wait: bool,
}

/// A key for one attempt.
pub(crate) struct Pick {
    pub(crate) key: Key,
    /// The right to probe the key, if the attempt is a probe.
    pub(crate) probe: Option<Box<Probe>>,
    /// Whether another key follows, to use or to probe.
    pub(crate) has_more: bool,
}

/// Selects keys from a list for one request, which has `tried` some of them.
pub(in crate::pool) struct Selector<'a, F> {
    pub(super) list: &'a KeyList,
    pub(super) config: &'a LimitConfig,
    pub(super) request: PickRequest<'a>,
    /// Whether a reopened key is left to requests in the wait queue.
    pub(super) yields_to_waiters: bool,
    pub(super) tried: F,
    pub(super) now: LazyNow,
}

impl<'a, F: Fn(&PooledKey) -> bool> Selector<'a, F> {
    #[inline]
    pub(in crate::pool) fn new(
        list: &'a KeyList,
        config: &'a LimitConfig,
        request: PickRequest<'a>,
        yields_to_waiters: bool,
        tried: F,
    ) -> Self {
        Self {
            list,
            config,
            request,
            yields_to_waiters,
            tried,
            now: LazyNow::default(),
        }
    }

    /// The time of the search. A later look at the same list uses it, so that no key reopens in
    /// between.
    pub(in crate::pool) fn now(&self) -> LazyNow {
        self.now
    }

    /// The first key that the request can use.
    #[inline]
    pub(in crate::pool) fn pick(&mut self) -> Option<Pick> {
        let from = self.list.after(self.request.after);
        let (at, probe) = match self.list.keys.get(from)? {
            // The usual case.
            key if key.is_open() && !(self.tried)(key) => (from, None),
            _ => self.search(from)?,
        };
        Some(Pick {
            key: self.list.handle(at),
            probe,
            has_more: self.has_usable_from(at + 1),
        })
    }

    fn search(&mut self, from: usize) -> Option<(usize, Option<Box<Probe>>)> {
        // A reopened key that another request is using: only for a request without an alternative.
        let mut spare = None;
        let mut last_valid = None;
        let mut next = from;
        while let Some(at) = self.next(next) {
            next = at + 1;
            let key = &self.list.keys[at];
            if (self.tried)(key) {
                continue;
            }
            match key.availability(&mut self.now) {
                Availability::Closed => {}
                Availability::Open => return Some((at, None)),
                Availability::Reopened { .. } if self.yields_to_waiters => {}
                Availability::Reopened { since } => {
                    let is_in_slow_start = self.config.is_in_slow_start(since, &mut self.now);
                    if !self.request.has_waited && !is_in_slow_start {
                        return Some((at, None));
                    }
                    match Probe::take(key, &mut self.now) {
                        Some(probe) => return Some((at, Some(probe))),
                        None => spare = spare.or(Some(at)),
                    }
                }
                Availability::ProbeDue => {
                    if let Some(probe) = self.probe_before_valid(at, &mut last_valid) {
                        return Some((at, Some(probe)));
                    }
                }
            }
        }
        match spare.filter(|_| !self.request.has_waited) {
            Some(at) => Some((at, None)),
            None => self.probe_without_alternative(from),
        }
    }

    /// Whether a key after `key` can be used or probed.
    pub(in crate::pool) fn has_more(&mut self, key: &Key) -> bool {
        self.has_usable_from(self.list.after(Some(key)))
    }

    fn has_usable_from(&mut self, from: usize) -> bool {
        // The usual case.
        if let Some(key) = self.list.keys.get(from)
            && key.is_open()
            && !(self.tried)(key)
        {
            return true;
        }
        let mut next = from;
        while let Some(at) = self.next(next) {
            let key = &self.list.keys[at];
            if key.availability(&mut self.now) != Availability::Closed && !(self.tried)(key) {
                return true;
            }
            next = at + 1;
        }
        false
    }

    /// The position of the next key from `from` on that may be usable or due for a probe.
    #[inline]
    fn next(&mut self, from: usize) -> Option<usize> {
        if from >= self.list.keys.len() {
            return None;
        }
        if self.config.probe_after.is_some() {
            return Some(from);
        }
        self.list.next_open(from, self.config.clock, &mut self.now)
    }
}
