//! The scopes in which a key, or a group of keys, is marked.
//!
//! Callers choose scopes, so a table is bounded. Requests read it without a lock. Whoever adds, marks or
//! removes an entry holds the lock, so that no mark is lost with an entry that is removed.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::pool::clock::LazyNow;
use crate::pool::reason::Cause;
use crate::pool::scope::Scope;
use crate::pool::state::{KeyState, Limit, LimitConfig, Marked};

/// How many scopes of a key can be marked at a time.
const MAX_ENTRIES: usize = 64;

/// If two scopes of a key are rate-limited within so many milliseconds, the limit is that of the key.
const SAME_LIMIT: u64 = 1000;

/// The table of a key or a group. It is made with its first entry.
pub(in crate::pool) struct Scopes(OnceLock<Box<Table>>);

#[derive(Default)]
struct Table {
    entries: ArcSwap<Vec<Arc<ScopedLimit>>>,
    /// The last rate limit of a scope.
    last: Mutex<Option<RateLimited>>,
}

struct RateLimited {
    scope: Scope,
    /// Milliseconds since the pool's epoch.
    at: u64,
    wait: Duration,
}

/// The limit of one scope.
pub(in crate::pool) struct ScopedLimit {
    pub(in crate::pool) scope: Scope,
    pub(in crate::pool) limit: Limit,
    /// When its rate limit ends, in milliseconds since the pool's epoch. A refusal of access can keep it
    /// closed for longer.
    rate_limited_until: AtomicU64,
    /// The requests that were refused access and have not ended yet.
    doubts: AtomicU32,
}

/// What an entry is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pool) enum Purpose {
    /// For so long.
    RateLimit(Duration),
    /// A refusal of access. It never takes the place of a rate limit.
    Access,
}

impl Scopes {
    pub(in crate::pool) fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Whether no scope was ever marked.
    #[inline]
    pub(in crate::pool) fn is_unused(&self) -> bool {
        self.0.get().is_none()
    }

    #[inline]
    pub(in crate::pool) fn find(&self, scope: &Scope) -> Option<Arc<ScopedLimit>> {
        let entries = self.0.get()?.entries.load();
        let entry = entries.iter().find(|entry| entry.scope == *scope);
        entry.map(Arc::clone)
    }

    pub(in crate::pool) fn all(&self) -> Vec<Arc<ScopedLimit>> {
        let table = self.0.get();
        table.map_or_else(Vec::new, |table| Vec::clone(&table.entries.load()))
    }

    /// Runs `change` with the entry of a scope, which is added if it is missing. Returns `None` if the
    /// table is full of entries that must stay.
    pub(in crate::pool) fn change<T>(
        &self,
        scope: &Scope,
        purpose: Purpose,
        config: &LimitConfig,
        now: &mut LazyNow,
        change: impl FnOnce(&Arc<ScopedLimit>, &mut LazyNow) -> T,
    ) -> Option<T> {
        let table = self.0.get_or_init(Box::default);
        let _lock = table.lock();
        let entry = match self.find(scope) {
            Some(entry) => entry,
            None => table.add(scope, purpose, config, now)?,
        };
        if let Purpose::RateLimit(wait) = purpose {
            let until = config.clock.deadline(now.get(), wait);
            entry.rate_limited_until.fetch_max(until, Ordering::Relaxed);
        }
        Some(change(&entry, now))
    }

    /// Runs `change` if the entry is still in the table.
    pub(in crate::pool) fn change_if_listed<T>(
        &self,
        entry: &Arc<ScopedLimit>,
        change: impl FnOnce() -> T,
    ) -> Option<T> {
        let table = self.0.get()?;
        let _lock = table.lock();
        let is_listed = table.entries.load().iter().any(|it| Arc::ptr_eq(it, entry));
        is_listed.then(change)
    }

    /// Records that a scope was rate-limited. If another one was just before, returns the shorter of the
    /// two waits: the longer one may be that of a limit of its scope alone.
    pub(in crate::pool) fn limit_of_key(
        &self,
        scope: &Scope,
        wait: Duration,
        config: &LimitConfig,
        now: &mut LazyNow,
    ) -> Option<Duration> {
        let at = now.millis(config.clock);
        let mut last = self.0.get_or_init(Box::default).lock();
        let last = last.replace(RateLimited {
            scope: scope.clone(),
            at,
            wait,
        })?;
        let is_same_limit = last.scope != *scope && at.saturating_sub(last.at) < SAME_LIMIT;
        is_same_limit.then(|| last.wait.min(wait))
    }

    /// Marks a scope for which another process was rate-limited `age` ago. If a request of this process
    /// is refused in another scope just after, the limit is that of the key.
    pub(in crate::pool) fn hear(
        &self,
        scope: &Scope,
        wait: Duration,
        age: Duration,
        cause: Cause,
        config: &LimitConfig,
        now: &mut LazyNow,
    ) -> Marked {
        let purpose = Purpose::RateLimit(wait);
        let marked = self.change(scope, purpose, config, now, |entry, now| {
            let limit = &entry.limit;
            limit.cool_down(config, limit.value(), wait, false, cause, now)
        });
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let at = now.millis(config.clock).saturating_sub(age);
        let mut last = self.0.get_or_init(Box::default).lock();
        if last.as_ref().is_none_or(|last| last.at < at) {
            let scope = scope.clone();
            *last = Some(RateLimited { scope, at, wait });
        }
        marked.unwrap_or(Marked::Unchanged)
    }

    /// Removes an entry that is no longer needed.
    pub(in crate::pool) fn tidy(&self, entry: &Arc<ScopedLimit>) {
        if !entry.is_idle() {
            return;
        }
        if let Some(table) = self.0.get() {
            let _lock = table.lock();
            table.retain(|it| !(Arc::ptr_eq(it, entry) && it.is_idle()));
        }
    }

    /// Removes all entries. Returns whether one of them was closed.
    pub(in crate::pool) fn clear(&self, config: &LimitConfig) -> bool {
        let Some(table) = self.0.get() else {
            return false;
        };
        let mut last = table.lock();
        *last = None;
        let now = &mut LazyNow::default();
        let entries = table.entries.swap(Arc::default());
        let mut entries = entries.iter();
        entries.any(|entry| entry.limit.state(config, now) != KeyState::Valid)
    }
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, Option<RateLimited>> {
        // No code panics while it holds the lock.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry. The caller holds the lock.
    fn add(
        &self,
        scope: &Scope,
        purpose: Purpose,
        config: &LimitConfig,
        now: &mut LazyNow,
    ) -> Option<Arc<ScopedLimit>> {
        let mut entries = Vec::clone(&self.entries.load());
        entries.retain(|entry| !entry.is_idle());
        if entries.len() >= MAX_ENTRIES {
            let ranked = entries.iter().enumerate();
            let ranked = ranked.map(|(at, entry)| (entry.worth(config, now), at));
            let (worth, at) = ranked.min()?;
            if purpose == Purpose::Access && matches!(worth, Worth::RateLimit(_)) {
                return None;
            }
            entries.swap_remove(at);
        }
        let entry = Arc::new(ScopedLimit::new(scope.clone()));
        entries.push(Arc::clone(&entry));
        self.entries.store(Arc::new(entries));
        Some(entry)
    }

    /// Keeps some entries. The caller holds the lock.
    fn retain(&self, keep: impl Fn(&Arc<ScopedLimit>) -> bool) {
        let mut entries = Vec::clone(&self.entries.load());
        entries.retain(keep);
        self.entries.store(Arc::new(entries));
    }
}

/// What a full table loses first, from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// Its cooldown has ended.
    Ended,
    /// It refuses access for so long.
    Access(Duration),
    /// It is rate-limited for so long.
    RateLimit(Duration),
}

impl ScopedLimit {
    fn new(scope: Scope) -> Self {
        Self {
            scope,
            limit: Limit::new(),
            rate_limited_until: AtomicU64::new(0),
            doubts: AtomicU32::new(0),
        }
    }

    /// A request was refused access. It ends with [`end_doubt`](Self::end_doubt).
    pub(super) fn begin_doubt(&self) {
        self.doubts.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end_doubt(&self) {
        self.doubts.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether nobody needs the entry: it is open, and no request doubts it.
    fn is_idle(&self) -> bool {
        self.limit.value().is_unmarked() && self.doubts.load(Ordering::Relaxed) == 0
    }

    /// How long until its rate limit ends, if it has one.
    pub(in crate::pool) fn rate_limited_for(
        &self,
        config: &LimitConfig,
        now: &mut LazyNow,
    ) -> Option<Duration> {
        let KeyState::Temporary { retry_after } = self.limit.state(config, now) else {
            return None;
        };
        let until = self.rate_limited_until.load(Ordering::Relaxed);
        let left = config.clock.remaining(until, now)?;
        Some(left.min(retry_after))
    }

    /// Whether a refusal of access keeps it closed for longer than its rate limit, if it has one.
    #[cfg(feature = "serde")]
    pub(in crate::pool) fn is_access_refused(
        &self,
        config: &LimitConfig,
        now: &mut LazyNow,
    ) -> bool {
        let rate_limited = self.rate_limited_for(config, now);
        let rate_limited = rate_limited.map(|retry_after| KeyState::Temporary { retry_after });
        rate_limited != Some(self.limit.state(config, now))
    }

    /// When its rate limit ends, as of now.
    pub(super) fn rate_limited_until(&self) -> u64 {
        self.rate_limited_until.load(Ordering::Relaxed)
    }

    /// A success has ended its mark. A rate limit that began after `until` was read stays.
    pub(super) fn end_rate_limit(&self, until: u64) {
        let _ = self.rate_limited_until.compare_exchange(
            until,
            0,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }

    fn worth(&self, config: &LimitConfig, now: &mut LazyNow) -> Worth {
        if let Some(left) = self.rate_limited_for(config, now) {
            return Worth::RateLimit(left);
        }
        match self.limit.state(config, now) {
            KeyState::Temporary { retry_after } => Worth::Access(retry_after),
            _ if self.doubts.load(Ordering::Relaxed) > 0 => Worth::Access(Duration::ZERO),
            _ => Worth::Ended,
        }
    }
}
