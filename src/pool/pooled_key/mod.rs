//! One key of a pool: its secret, its names and its limits.

mod availability;
mod marks;
mod report;
mod returns;

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

pub(super) use self::marks::least;
use super::in_flight::{Capacities, InFlightCounter};
use super::key_settings::KeySettings;
use super::observe::UsageCounters;
use super::scoped::Scopes;
use super::secret::Secret;
use super::select::Identity;
use super::shared::Shared;
use super::state::{Limit, LimitConfig, Permit, StateValue};

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

/// Keys of one organization or project, which share a limit.
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
    /// Of the key's group, if it has one.
    group: StateValue,
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
            group: group.map_or(StateValue::ZERO, |group| group.limit.value()),
        }
    }

    /// Whether it has no group, no mark and no suspicion.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.group.is_none() && self.core.limit.is_open()
    }
}

impl Seen {
    /// The state of the only limit of a key without a group.
    #[inline]
    pub(super) fn of_own(own: StateValue) -> Self {
        Self {
            own,
            group: StateValue::ZERO,
        }
    }

    /// Whether neither limit was marked, apart from suspicions.
    pub(super) fn has_no_mark(self) -> bool {
        self.own.is_unmarked() && self.group.is_unmarked()
    }

    /// Whether no limit of `key` was returned to service since.
    pub(super) fn is_current(self, key: &PooledKey) -> bool {
        let now = key.seen();
        let is_own = now.own.generation() == self.own.generation();
        let is_group = now.group.generation() == self.group.generation();
        (is_own || key.core.limit.is_removed()) && is_group
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
