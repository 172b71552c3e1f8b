use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::KeyPool;
use super::clock::Clock;
use super::error::BuildError;
use super::new_key::NewKey;
use super::select::{KeyList, Selection};
use super::shared::{PoolConfig, Shared};
use super::state::{CooldownRules, LimitConfig, PoolProbes, ProbeRules};

/// Builds a [`KeyPool`] with labels, groups, cooldowns and recovery settings.
///
/// [`KeyPool::builder`] returns a builder with the default settings.
///
/// ```
/// use std::time::Duration;
/// use tower_key_failover::pool::KeyPool;
///
/// # fn main() -> Result<(), tower_key_failover::pool::BuildError> {
/// let pool = KeyPool::builder()
///     .name("anthropic")
///     // Two keys of one organization, which limits their rate together.
///     .labeled_key("team-a", "sk-ant-api03-abcdefgh").group("acme")
///     .labeled_key("team-b", "sk-ant-api03-ijklmnop").group("acme")
///     .labeled_key("spare", "sk-ant-api03-qrstuvwx")
///     // If a 429 names no wait: 1 s, then 2 s, 4 s, and so on, up to a minute.
///     .exponential_cooldown(Duration::from_secs(1)..=Duration::from_secs(60))
///     .max_cooldown(Duration::from_secs(3600))
///     .build()?;
///
/// assert_eq!(pool.len(), 3);
/// # Ok(())
/// # }
/// ```
pub struct KeyPoolBuilder {
    keys: Vec<NewKey>,
    config: PoolConfig,
    /// The first setting of a key that came before all keys.
    setting_without_key: Option<&'static str>,
}

impl KeyPoolBuilder {
    pub(super) fn new() -> Self {
        Self {
            keys: Vec::new(),
            config: PoolConfig {
                name: Box::default(),
                limits: LimitConfig {
                    clock: Clock::start(),
                    cooldown: CooldownRules {
                        default: Duration::from_secs(60),
                        max: Duration::from_secs(24 * 60 * 60),
                        exponential: None,
                    },
                    probes: ProbeRules::new(Some(Duration::from_secs(60))),
                    pool_probes: PoolProbes::new(),
                },
                selection: Selection::default(),
                group_caps: HashMap::new(),
                track_usage: false,
                max_waiters: 1024,
            },
            setting_without_key: None,
        }
    }

    /// Sets the pool's name, which appears in logs and metrics. Default: empty.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into().into();
        self
    }

    /// Adds a key after the keys that were added before.
    #[must_use]
    pub fn key(mut self, key: impl Into<SecretString>) -> Self {
        self.keys.push(NewKey::new(key));
        self
    }

    /// Adds a key with a label, which identifies the key to people. No two keys have the same label.
    #[must_use]
    pub fn labeled_key(mut self, label: impl Into<String>, key: impl Into<SecretString>) -> Self {
        self.keys.push(NewKey::new(key).label(label));
        self
    }

    /// Puts the last added key into a group. The keys of a group belong to one organization or
    /// project and share its rate limit.
    ///
    /// If one key of a group is rate-limited, the whole group cools down, because the provider would refuse
    /// the other keys of the group as well. A permanent mark applies to one key only.
    #[must_use]
    pub fn group(self, group: impl Into<String>) -> Self {
        self.set_last("group", |key| key.group(group))
    }

    /// Sets how many requests can be in flight with the keys of a group together. Default: no limit.
    ///
    /// [`NewKey::max_in_flight`] describes what is counted, and what happens at the cap. The cap applies
    /// to the group whenever the pool has keys of this group.
    #[must_use]
    pub fn group_max_in_flight(mut self, group: impl Into<String>, requests: u32) -> Self {
        self.config.group_caps.insert(group.into().into(), requests);
        self
    }

    /// Sets the weight of the last added key: see [`NewKey::weight`].
    #[must_use]
    pub fn weight(self, weight: u32) -> Self {
        self.set_last("weight", |key| key.weight(weight))
    }

    /// Sets the tier of the last added key: see [`NewKey::tier`].
    #[must_use]
    pub fn tier(self, tier: u32) -> Self {
        self.set_last("tier", |key| key.tier(tier))
    }

    /// Limits the requests in flight with the last added key: see [`NewKey::max_in_flight`].
    #[must_use]
    pub fn max_in_flight(self, requests: u32) -> Self {
        self.set_last("max_in_flight", |key| key.max_in_flight(requests))
    }

    /// Sets the prompt cache of the last added key: see [`NewKey::cache_domain`].
    #[must_use]
    pub fn cache_domain(self, name: impl Into<String>) -> Self {
        self.set_last("cache_domain", |key| key.cache_domain(name))
    }

    /// Attaches a value to the last added key: see [`NewKey::extension`].
    #[must_use]
    pub fn extension<T: Any + Send + Sync>(self, value: T) -> Self {
        self.set_last("extension", |key| key.extension(value))
    }

    fn set_last(mut self, setting: &'static str, set: impl FnOnce(NewKey) -> NewKey) -> Self {
        match self.keys.pop() {
            Some(key) => self.keys.push(set(key)),
            None => self.setting_without_key = self.setting_without_key.or(Some(setting)),
        }
        self
    }

    /// Sets how requests choose among the usable keys. Default:
    /// [`in_order`](Selection::in_order).
    #[must_use]
    pub fn selection(mut self, selection: Selection) -> Self {
        self.config.selection = selection;
        self
    }

    /// Sets how long a key cools down if the provider names no wait. Default: 60 seconds.
    #[must_use]
    pub fn default_cooldown(mut self, cooldown: Duration) -> Self {
        self.config.limits.cooldown.default = cooldown;
        self
    }

    /// Sets the longest cooldown, whatever the provider says. Default: 24 hours.
    #[must_use]
    pub fn max_cooldown(mut self, cooldown: Duration) -> Self {
        self.config.limits.cooldown.max = cooldown;
        self
    }

    /// Sets how long a key cools down if the provider names no wait: the start of the range at first,
    /// then twice as long after each refusal, up to the end of the range. Default: always 60 seconds.
    ///
    /// The start replaces the [`default_cooldown`](Self::default_cooldown). A burst of refusals counts
    /// once. A success resets the cooldown to the start of the range. If the range is empty, every
    /// cooldown lasts as long as its start.
    #[must_use]
    pub fn exponential_cooldown(mut self, range: RangeInclusive<Duration>) -> Self {
        let (start, end) = range.into_inner();
        self.config.limits.cooldown.default = start;
        self.config.limits.cooldown.exponential = Some(end);
        self
    }

    /// Sets how long after its mark a permanently marked key is probed, or turns probes off with
    /// `None`. Default: 60 seconds.
    ///
    /// A probe is a single request that uses the key. A success returns the key to service. If the key
    /// is refused for the same reason again, the interval doubles, up to an hour. Each interval varies
    /// by up to half of its length. If no key of the pool is usable, one of its permanently marked keys
    /// is probed after a second, then after 2, 4 and every 5 seconds, by whichever request comes next.
    ///
    /// A request probes at most one key. It has to be able to continue with another key, unless no key
    /// is usable. Suspected keys are probed after the same intervals. A key that an operator disabled
    /// is never probed.
    ///
    /// If you set a time, keys and scopes that cool down for longer than that are probed as well.
    #[must_use]
    pub fn probe_after(mut self, time: impl Into<Option<Duration>>) -> Self {
        let probes = &mut self.config.limits.probes;
        probes.after = time.into();
        probes.probes_cooldowns = probes.after.is_some();
        self
    }

    /// Makes the intervals between probes exact, for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn without_probe_jitter(mut self) -> Self {
        self.config.limits.probes.jitter = false;
        self
    }

    /// Makes the intervals between probes the same in every run, for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn with_probe_jitter_of(mut self, seed: u64) -> Self {
        self.config.limits.probes.random = seed.into();
        self
    }

    /// Sets whether the pool counts how often each key is picked, used and refused, and records when it
    /// was last used. The [snapshot](KeyPool::snapshot) and [metrics](crate::guides::observability#metrics)
    /// show the result. Default: `false`, because each attempt then increments two counters and reads the
    /// clock.
    #[must_use]
    pub fn track_usage(mut self, track: bool) -> Self {
        self.config.track_usage = track;
        self
    }

    /// Sets how many requests can wait for a key at the same time, if their layer
    /// [allows waiting](crate::KeyFailoverLayer::wait_for_key). Default: 1,024.
    #[must_use]
    pub fn max_waiters(mut self, waiters: usize) -> Self {
        self.config.max_waiters = waiters;
        self
    }

    /// Builds the pool. Every key is valid at first.
    ///
    /// # Errors
    ///
    /// Returns [`BuildError`] if there is no key, if a key or a label occurs twice, if a key cannot be
    /// sent, if a setting of a key comes before all keys, or if a setting is out of range or contradicts
    /// another one. The message says what to do.
    pub fn build(self) -> Result<KeyPool, BuildError> {
        if let Some(setting) = self.setting_without_key {
            return Err(BuildError::SettingWithoutKey { setting });
        }
        check_groups(&self.config, &self.keys)?;
        let shared = Arc::new(Shared::new(self.config));
        let list = KeyList::build(Vec::new(), self.keys, &[], &shared)?;
        Ok(KeyPool::from_parts(shared, list))
    }
}

/// Checks the caps of groups. A later list of keys may lack some of the groups.
fn check_groups(config: &PoolConfig, keys: &[NewKey]) -> Result<(), BuildError> {
    let mut caps: Vec<_> = config.group_caps.iter().collect();
    // The same error each time.
    caps.sort_unstable();
    for (name, cap) in caps {
        let mut members = keys
            .iter()
            .map(|key| &key.settings)
            .filter(|settings| settings.group.as_ref() == Some(name));
        let problem = if *cap == 0 {
            "its max_in_flight is 0: set it to 1 or more, and disable or remove keys that no request should use"
        } else if members.clone().next().is_none() {
            "it has a max_in_flight and no key: put a key into the group, or remove the cap"
        } else if members.any(|key| key.max_in_flight.is_some_and(|own| own > *cap)) {
            "one of its keys has a greater max_in_flight than the group: lower that one, or raise the group's"
        } else {
            continue;
        };
        return Err(BuildError::InvalidGroup {
            name: (**name).into(),
            problem,
        });
    }
    Ok(())
}

impl fmt::Debug for KeyPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPoolBuilder")
            .field("keys", &self.keys)
            .field("config", &self.config)
            .finish()
    }
}
