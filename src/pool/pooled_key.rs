//! One key of a pool: its secret, its names and its limits.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::clock::LazyNow;
use super::in_flight::{Capacities, InFlightCounter};
use super::key::KeyCheck;
use super::key_settings::KeySettings;
use super::observe::{KeyName, KeySnapshot, PoolEvent, ReturnedBy, UsageCounters};
use super::reason::{Cause, Reason};
use super::scope::Scope;
use super::scoped::Scopes;
use super::secret::Secret;
use super::select::Identity;
use super::shared::Shared;
use super::state::{
    Availability, KeyState, Limit, LimitConfig, Marked, Permit, StateValue, Succeeded, Suspicion,
};

/// A key in one list of keys. Later lists share its core.
// Aligned, so that a reference count that one thread changes shares no cache line with anything that
// another thread needs.
#[derive(Clone)]
#[repr(align(64))]
pub(super) struct PooledKey {
    pub(super) core: Arc<KeyCore>,
    pub(super) secret: Arc<Secret>,
    /// How often the secret had been replaced before this one.
    secret_version: u32,
    pub(super) settings: Arc<KeySettings>,
    pub(super) group: Option<Arc<Group>>,
    /// `None`: its requests in flight are neither limited nor counted.
    pub(super) capacities: Option<Arc<Capacities>>,
    pub(super) shared: Arc<Shared>,
}

/// What a key keeps across reloads.
pub(super) struct KeyCore {
    pub(super) limit: Limit,
    pub(super) scopes: Scopes,
    pub(super) usage: Option<Box<UsageCounters>>,
    /// Made when a list of keys needs it.
    pub(super) in_flight: OnceLock<Arc<InFlightCounter>>,
    /// Identifies a key without a name, also after its secret was replaced.
    fingerprint: Identity,
    /// The version of the secret that requests use now.
    secret_version: AtomicU32,
}

/// Keys of one organisation or project, which share a limit.
pub(super) struct Group {
    pub(super) name: Arc<str>,
    pub(super) limit: Limit,
    pub(super) scopes: Scopes,
    /// Made when a list of keys needs it.
    pub(super) in_flight: OnceLock<Arc<InFlightCounter>>,
}

/// The states of a key's limits when a handle to the key was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    own: StateValue,
    group: Option<StateValue>,
}

/// What an attempt holds of the limits of its key.
pub(super) type Permits = [Option<Permit>; 2];

impl KeyCore {
    pub(super) fn new(secret: &Secret, track_usage: bool) -> Self {
        Self {
            limit: Limit::new(),
            scopes: Scopes::new(),
            usage: track_usage.then(|| Box::new(UsageCounters::new())),
            in_flight: OnceLock::new(),
            fingerprint: Identity::of_secret(secret.expose()),
            secret_version: AtomicU32::new(0),
        }
    }
}

impl Group {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            limit: Limit::new(),
            scopes: Scopes::new(),
            in_flight: OnceLock::new(),
        }
    }
}

/// Identifies a key while a handle to it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyIdentity(usize);

#[cfg(all(test, tower_key_failover_loom))]
impl KeyIdentity {
    pub(super) fn of_number(number: usize) -> Self {
        Self(number)
    }
}

impl PooledKey {
    /// A key as a new list contains it. `core` is that of the same key in the old list, if it has one.
    pub(super) fn new(
        core: Arc<KeyCore>,
        secret: Arc<Secret>,
        settings: Arc<KeySettings>,
        group: Option<Arc<Group>>,
        shared: &Arc<Shared>,
    ) -> Self {
        let capacities = Capacities::of(&core, &settings, group.as_deref(), &shared.config);
        Self {
            secret_version: core.secret_version.load(Ordering::Relaxed),
            core,
            secret,
            settings,
            group,
            capacities: capacities.map(Arc::new),
            shared: Arc::clone(shared),
        }
    }

    /// The same key with another secret.
    pub(super) fn with_secret(&self, secret: Secret) -> Self {
        Self {
            secret: Arc::new(secret),
            secret_version: self.secret_version + 1,
            ..self.clone()
        }
    }

    /// Requests use this secret from now on.
    pub(super) fn use_secret(&self) {
        let current = &self.core.secret_version;
        current.fetch_max(self.secret_version, Ordering::Relaxed);
    }

    /// Whether the secret was replaced. A refusal of the old secret proves nothing about the new one.
    pub(super) fn is_outdated(&self) -> bool {
        self.secret_version < self.core.secret_version.load(Ordering::Relaxed)
    }

    pub(super) fn id(&self) -> KeyIdentity {
        KeyIdentity(Arc::as_ptr(&self.core) as usize)
    }

    pub(super) fn limit_config(&self) -> &LimitConfig {
        &self.shared.config.limits
    }

    /// What affinity knows the key by.
    pub(super) fn identity(&self) -> Identity {
        let KeySettings {
            label,
            group,
            cache_domain,
            ..
        } = &*self.settings;
        match (cache_domain.as_ref().or(group.as_ref()), label) {
            (Some(domain), _) => Identity::of_domain(domain),
            (None, Some(label)) => Identity::of_label(label),
            (None, None) => self.core.fingerprint,
        }
    }

    /// The key's own limit and that of its group.
    pub(super) fn limits(&self) -> impl Iterator<Item = &Limit> {
        let group = self.group.as_deref().map(|group| &group.limit);
        std::iter::once(&self.core.limit).chain(group)
    }

    #[inline]
    pub(super) fn seen(&self) -> Seen {
        let group = self.group.as_deref();
        Seen {
            own: self.core.limit.value(),
            group: group.map(|group| group.limit.value()),
        }
    }

    /// Whether it has no group, no mark and no suspicion.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.group.is_none() && self.core.limit.is_open()
    }

    /// The worse of its own availability and its group's.
    pub(super) fn availability(&self, now: &mut LazyNow) -> Availability {
        let config = self.limit_config();
        let own = self.core.limit.availability(config, now);
        let Some(group) = &self.group else {
            return own;
        };
        match (own, group.limit.availability(config, now)) {
            // A key that does not work must not use up its group's probe.
            (Availability::ProbeDue, Availability::ProbeDue) if self.core.limit.is_permanent() => {
                Availability::Closed
            }
            (own, group) => own.max(group),
        }
    }

    #[cold]
    pub(super) fn check(&self, scope: Option<&Scope>) -> KeyCheck {
        let own = &self.core.limit;
        if own.is_removed() || own.is_disabled() {
            return KeyCheck::Withdrawn;
        }
        match self.limits_for(scope).availability(&mut LazyNow::default()) {
            Availability::Open | Availability::Reopening => KeyCheck::Usable,
            Availability::ProbeDue | Availability::Closed => KeyCheck::Marked,
        }
    }

    /// Whether all limits that are reopening admit an attempt now.
    pub(super) fn has_room(&self, now: &mut LazyNow) -> bool {
        let config = self.limit_config();
        let mut limits = self.limits();
        limits.all(|limit| limit.admits_in(config, now).is_zero())
    }

    /// Whether the key or its group has as many requests in flight as it may.
    pub(super) fn is_at_cap(&self) -> bool {
        self.capacities.as_deref().is_some_and(Capacities::is_full)
    }

    /// Whether the key or its group has a cap.
    pub(super) fn is_capped(&self) -> bool {
        self.capacities
            .as_deref()
            .is_some_and(Capacities::is_capped)
    }

    /// How many requests are in flight with the key, if they are counted.
    #[inline]
    pub(super) fn in_flight(&self) -> Option<u32> {
        let own = self.capacities.as_deref()?.own.as_ref()?;
        Some(own.counter.count())
    }

    /// How often the key was refused without proof since its last success.
    pub(super) fn suspicions(&self) -> u32 {
        self.core.limit.suspicions()
    }

    /// When the key or its group is due for a probe, in milliseconds since the pool's epoch. 0 means
    /// never.
    pub(super) fn probe_due_at(&self) -> u64 {
        let config = self.limit_config();
        let due = self.limits().map(|limit| limit.probe_due_at(config));
        due.max().unwrap_or_default()
    }

    /// The worse of its own state and its group's.
    pub(super) fn state(&self, now: &mut LazyNow) -> KeyState {
        self.limits()
            .map(|limit| limit.state(self.limit_config(), now))
            .max()
            .unwrap_or(KeyState::Valid)
    }

    /// Lets the key and its group cool down. Also returns for how long.
    pub(super) fn cool_down(
        &self,
        seen: Seen,
        hint: Option<Duration>,
        cause: Cause,
    ) -> (Marked, Duration) {
        let (config, now) = (self.limit_config(), &mut LazyNow::default());
        let hint = hint.filter(|wait| !wait.is_zero());
        let lengths = self.limits().map(|limit| limit.cooldown(config, hint, now));
        let wait = lengths.max().unwrap_or_default();
        if !seen.is_current(self) {
            return (Marked::Unchanged, wait);
        }
        let mark = |limit: &Limit, seen, now: &mut LazyNow| {
            limit.cool_down(config, seen, wait, hint.is_none(), cause, now)
        };
        let own = mark(&self.core.limit, seen.own, now);
        let group = self.group.as_deref().zip(seen.group);
        let group = group.map(|(group, seen)| mark(&group.limit, seen, now));
        // The event describes the group, whatever the mark means for this key.
        let state = KeyState::Temporary { retry_after: wait };
        self.after_mark(group.unwrap_or(own), None, state, cause);
        (least(own, group.unwrap_or(own)), wait)
    }

    pub(super) fn suspect(&self, seen: Seen, cause: Cause) -> Suspicion {
        if self.is_outdated() {
            return Suspicion::VOID;
        }
        let config = self.limit_config();
        let suspicion = self.core.limit.suspect(config, seen.own, cause);
        if suspicion.count > 0 {
            self.shared.on_event(|| PoolEvent::Suspected {
                key: self.name(),
                suspicions: suspicion.count,
                reason: cause.reason,
                status: cause.status,
            });
        }
        suspicion
    }

    pub(super) fn convict(&self, seen: Seen, suspicion: Suspicion, cause: Cause) -> Marked {
        if self.is_outdated() {
            return Marked::Unchanged;
        }
        let config = self.limit_config();
        let limit = &self.core.limit;
        let marked = limit.convict(config, seen.own, suspicion, cause);
        self.after_mark(marked, None, KeyState::Permanent, cause);
        marked
    }

    pub(super) fn mark_permanently(&self, seen: Seen, cause: Cause) -> Marked {
        if self.is_outdated() {
            return Marked::Unchanged;
        }
        let config = self.limit_config();
        let marked = self.core.limit.mark_permanently(config, seen.own, cause);
        self.after_mark(marked, None, KeyState::Permanent, cause);
        marked
    }

    pub(super) fn disable(&self) -> Marked {
        let marked = self.core.limit.disable();
        self.core.limit.record_operator_act();
        self.shared.changes.notify();
        self.emit_mark(
            marked,
            None,
            KeyState::Permanent,
            Cause::of(Reason::Operator),
        );
        marked
    }

    /// Returns whether the key or its group was closed.
    pub(super) fn reinstate(&self) -> bool {
        let mut was_closed = false;
        for limit in self.limits() {
            was_closed |= limit.reinstate(self.limit_config());
            limit.record_operator_act();
        }
        // After the new generation has begun, in which late marks have no effect.
        was_closed |= self.clear_scopes();
        self.shared.changes.notify();
        was_closed
    }

    /// Records that a request succeeded with the key.
    #[inline]
    pub(super) fn succeed(&self, seen: Seen) {
        let is_settled = seen.own.is_open() && self.core.limit.is_settled();
        if !is_settled || self.group.is_some() {
            self.succeed_with(seen, [None; 2]);
        }
    }

    /// Records that a request succeeded with the key, of whose limits it holds `permits`.
    #[cold]
    pub(super) fn succeed_with(&self, seen: Seen, permits: Permits) {
        let config = self.limit_config();
        let [permit, group_permit] = permits;
        let own = self.core.limit.succeed(config, seen.own, permit);
        let mut was_closed = own.was_closed;
        if let Some((group, seen)) = self.group.as_deref().zip(seen.group)
            && !(seen.is_open() && group.limit.is_settled())
        {
            let Succeeded {
                was_closed: was, ..
            } = group.limit.succeed(config, seen, group_permit);
            was_closed |= was;
        }
        if was_closed {
            self.shared.changes.notify();
            self.shared.on_event(|| PoolEvent::Returned {
                key: self.name(),
                by: ReturnedBy::Probe,
            });
            self.shared.queue.wake_for(self);
        }
        if own.was_suspected {
            self.shared
                .on_event(|| PoolEvent::Trusted { key: self.name() });
        }
    }

    /// Records a response that goes to the caller.
    #[inline]
    pub(super) fn record_served(&self) {
        if let Some(usage) = &self.core.usage {
            usage.served(self.limit_config().clock);
        }
    }

    pub(super) fn record_refused(&self, reason: Reason) {
        if let Some(usage) = &self.core.usage {
            usage.refused(self.limit_config().clock, reason);
        }
    }

    /// Reports a mark, and wakes waiters, because there may be no key left to wait for.
    pub(super) fn after_mark(
        &self,
        marked: Marked,
        scope: Option<&Scope>,
        state: KeyState,
        cause: Cause,
    ) {
        self.emit_mark(marked, scope, state, cause);
        if marked != Marked::Unchanged {
            self.shared.queue.wake_for(self);
        }
    }

    fn emit_mark(&self, marked: Marked, scope: Option<&Scope>, state: KeyState, cause: Cause) {
        if marked != Marked::Unchanged {
            self.shared.changes.notify();
            self.shared.on_event(|| PoolEvent::Marked {
                key: self.name(),
                scope: scope.cloned(),
                state,
                marked,
                reason: cause.reason,
                status: cause.status,
            });
        }
    }

    pub(super) fn name(&self) -> KeyName {
        KeyName {
            label: self.settings.label.clone(),
            hint: self.secret.hint().into(),
            group: self.group.as_ref().map(|group| Arc::clone(&group.name)),
        }
    }

    pub(super) fn snapshot(&self, now: &mut LazyNow) -> KeySnapshot {
        let config = self.limit_config();
        let marked = self.limits().filter(|limit| limit.reason().is_some());
        let last = marked.reduce(|own, group| {
            if group.state(config, now) > own.state(config, now) {
                group
            } else {
                own
            }
        });
        let usage = self.core.usage.as_ref();
        KeySnapshot {
            label: self.settings.label.clone(),
            hint: self.secret.hint().into(),
            group: self.group.as_ref().map(|group| Arc::clone(&group.name)),
            state: self.state(now),
            suspicions: self.suspicions(),
            reason: last.and_then(Limit::reason),
            in_flight: self.in_flight(),
            scopes: self.marked_scopes(now),
            usage: usage.map(|usage| usage.read(config.clock, now)),
        }
    }
}

impl Seen {
    /// The state of the only limit of a key without a group.
    #[inline]
    pub(super) fn of_own(own: StateValue) -> Self {
        Self { own, group: None }
    }

    /// Whether no limit of `key` was returned to service since.
    pub(super) fn is_current(self, key: &PooledKey) -> bool {
        let now = key.seen();
        let generation = |group: Option<StateValue>| group.map(StateValue::generation);
        let is_own = now.own.generation() == self.own.generation();
        (is_own || key.core.limit.is_removed()) && generation(now.group) == generation(self.group)
    }
}

/// What a mark of two limits means for a key that is usable only if both are open.
pub(super) fn least(one: Marked, other: Marked) -> Marked {
    match (one, other) {
        (Marked::Unchanged, _) | (_, Marked::Unchanged) => Marked::Unchanged,
        (Marked::Extended, _) | (_, Marked::Extended) => Marked::Extended,
        (Marked::Transitioned, Marked::Transitioned) => Marked::Transitioned,
    }
}

impl fmt::Debug for PooledKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledKey")
            .field("hint", &self.secret.hint())
            .field("label", &self.settings.label)
            .finish_non_exhaustive()
    }
}
