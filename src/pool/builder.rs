use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::KeyPool;
use super::clock::Clock;
use super::error::BuildError;
use super::inner::Inner;
use super::list::List;
use super::new_key::NewKey;
use super::rules::Rules;
use super::shared::Shared;

/// Builds a [`KeyPool`] with labels, groups, a name, cooldowns, and how keys return to service.
///
/// See the [module docs](super).
pub struct KeyPoolBuilder {
    keys: Vec<NewKey>,
    rules: Rules,
    stray_group: bool,
}

impl KeyPoolBuilder {
    pub(super) fn new() -> Self {
        Self {
            keys: Vec::new(),
            rules: Rules {
                name: Box::default(),
                clock: Clock::start(),
                default_cooldown: Duration::from_secs(60),
                max_cooldown: Duration::from_secs(24 * 60 * 60),
                growth: None,
                probe_after: None,
                slow_start: None,
                track_usage: false,
                max_waiters: 1024,
            },
            stray_group: false,
        }
    }

    /// Names the pool, for people and in logs and metrics.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.rules.name = name.into().into();
        self
    }

    /// Adds a key behind those added before.
    #[must_use]
    pub fn key(mut self, key: impl Into<SecretString>) -> Self {
        self.keys.push(NewKey::new(key));
        self
    }

    /// Adds a key with a label, by which people know it.
    #[must_use]
    pub fn labeled_key(mut self, label: impl Into<String>, key: impl Into<SecretString>) -> Self {
        self.keys.push(NewKey::new(key).label(label));
        self
    }

    /// Puts the key added last into a group: keys of one organisation or project, which share a
    /// limit.
    ///
    /// A temporary mark of one of them puts all of them out, so that no request tries a sibling in
    /// vain. A permanent mark stays with the key.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        match self.keys.pop() {
            Some(key) => self.keys.push(key.group(group)),
            None => self.stray_group = true,
        }
        self
    }

    /// How long a key is out when the provider named no wait. Default: 60 seconds.
    #[must_use]
    pub fn default_cooldown(mut self, cooldown: Duration) -> Self {
        self.rules.default_cooldown = cooldown;
        self
    }

    /// The longest that a key is out, whatever the provider said. Default: 24 hours.
    #[must_use]
    pub fn max_cooldown(mut self, cooldown: Duration) -> Self {
        self.rules.max_cooldown = cooldown;
        self
    }

    /// Sets the cooldown of a key whose provider names no wait: the start of the range at first, twice
    /// as long after each refusal, up to the end of the range. Default: always 60 seconds.
    ///
    /// The start replaces the [`default_cooldown`](Self::default_cooldown). A burst of refusals counts
    /// once. A success resets the cooldown to the start of the range. If the range is empty, every
    /// cooldown lasts as long as its start.
    #[must_use]
    pub fn exponential_cooldown(mut self, range: RangeInclusive<Duration>) -> Self {
        let (start, end) = range.into_inner();
        self.rules.default_cooldown = start;
        self.rules.growth = Some(end);
        self
    }

    /// Lends a key that is out for good, or for longer than this, to one request after this time: a
    /// success returns it to service, and a refusal doubles the time, up to a day. Default: such a
    /// key stays out until its time, or until it is reinstated.
    ///
    /// It is lent to a request that can go on to a valid key, or to any where no key is valid. A key
    /// that a person disabled is never lent. A success is an answer with a status of 2xx (or a switch
    /// of protocols); other answers that are forwarded leave things as they are.
    #[must_use]
    pub fn probe_after(mut self, time: Duration) -> Self {
        self.rules.probe_after = Some(time);
        self
    }

    /// Offers a key whose cooldown is over to one request at a time, until one has succeeded or until
    /// `time` has passed since, as long as the others can have another key. Default: everyone may have
    /// it at once.
    #[must_use]
    pub fn slow_start(mut self, time: Duration) -> Self {
        self.rules.slow_start = Some(time);
        self
    }

    /// Counts how often each key served and was refused, and when it was last used, for
    /// [`snapshot`](KeyPool::snapshot). Default: `false`, since each answer then reads the clock and
    /// writes a counter.
    #[must_use]
    pub fn track_usage(mut self, track: bool) -> Self {
        self.rules.track_usage = track;
        self
    }

    /// How many requests may wait for a key at once, where their layer
    /// [lets them](crate::KeyFailoverLayer::wait_for_key). Default: 1,024.
    #[must_use]
    pub fn max_waiters(mut self, waiters: usize) -> Self {
        self.rules.max_waiters = waiters;
        self
    }

    /// Builds the pool. Every key starts valid.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when there is no key, when one stands twice, when one is empty or not a legal
    /// header value, or when a group was named before any key.
    pub fn build(self) -> Result<KeyPool, BuildError> {
        if self.stray_group {
            return Err(BuildError::GroupWithoutKey);
        }
        let shared = Arc::new(Shared::new(self.rules));
        let list = List::make(Vec::new(), self.keys, &[], &shared)?;
        Ok(KeyPool {
            inner: Arc::new(Inner::new(shared, list)),
        })
    }
}

impl fmt::Debug for KeyPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPoolBuilder")
            .field("keys", &self.keys)
            .field("rules", &self.rules)
            .finish()
    }
}
