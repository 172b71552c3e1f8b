use std::any::Any;
use std::fmt;

use secrecy::SecretString;

use super::key_settings::KeySettings;

/// A key to add to a pool, with its settings.
///
/// A string converts to a key without settings.
///
/// ```
/// use tower_key_failover::pool::{KeyPool, NewKey};
///
/// /// The resource that a key belongs to.
/// struct Endpoint(&'static str);
///
/// # fn main() -> Result<(), tower_key_failover::pool::BuildError> {
/// let pool = KeyPool::new(["sk-old-0123456789abcdef"])?;
/// pool.replace_keys([
///     NewKey::new("sk-first-0123456789ab")
///         .label("europe")
///         .weight(3)
///         .max_in_flight(20)
///         .extension(Endpoint("https://europe.example.com")),
///     NewKey::new("sk-second-0123456789")
///         .label("spare")
///         .tier(2),
/// ])?;
///
/// let key = pool.keys().next().unwrap();
/// assert_eq!(key.extension::<Endpoint>().unwrap().0, "https://europe.example.com");
/// # Ok(())
/// # }
/// ```
pub struct NewKey {
    pub(super) text: SecretString,
    pub(super) settings: KeySettings,
}

impl NewKey {
    /// Creates a key without a label and group, of weight 1 and tier 1.
    pub fn new(key: impl Into<SecretString>) -> Self {
        Self {
            text: key.into(),
            settings: KeySettings::default(),
        }
    }

    /// Sets the label, which identifies the key to people. Labels are unique.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.settings.label = Some(label.into().into());
        self
    }

    /// Sets the group: the organization or project whose rate limit the key shares with other keys.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.settings.group = Some(group.into().into());
        self
    }

    /// Sets how much of the load the key gets in proportion to other keys, from 1 to 1,000. Default: 1.
    /// A pool rejects other weights with [`BuildError::InvalidSetting`](crate::BuildError::InvalidSetting).
    ///
    /// [`Selection::weighted`](crate::pool::Selection::weighted),
    /// [`Selection::least_in_flight`](crate::pool::Selection::least_in_flight) and
    /// [affinity](crate::pool::KeyChoice::affinity) use weights.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.settings.weight = weight;
        self
    }

    /// Sets the tier. Default: 1, which comes first. Keys of a tier are used only if every key of a lower
    /// tier is unusable or has more [suspicions](crate::guides::recovery#suspicion). A pool rejects tier 0
    /// with [`BuildError::InvalidSetting`](crate::BuildError::InvalidSetting).
    #[must_use]
    pub fn tier(mut self, tier: u32) -> Self {
        self.settings.tier = tier;
        self
    }

    /// Sets how many requests can be in flight with the key at the same time. Default: no limit. A pool
    /// rejects 0 with [`BuildError::InvalidSetting`](crate::BuildError::InvalidSetting).
    ///
    /// A request is in flight from its attempt until its response body has ended or been dropped. An
    /// attempt whose response is `101 Switching Protocols` ends with the head. Requests that the cap
    /// turns away use the next key. If all keys are at their caps, a request
    /// [waits](crate::KeyFailoverLayer::wait_for_key) if it may. Otherwise, it gets a 429 without
    /// `retry-after`.
    ///
    /// The count survives changes of the list that keep the key. It starts from zero if the key is
    /// removed and added again, and in another pool, whatever is still in flight.
    #[must_use]
    pub fn max_in_flight(mut self, requests: u32) -> Self {
        self.settings.max_in_flight = Some(requests);
        self
    }

    /// Sets the name of the prompt cache that the key uses. Default: the group, otherwise the label.
    ///
    /// [Affinity](crate::pool::KeyChoice::affinity) sends the requests of a session to one cache
    /// domain. The keys of a domain share these requests as the pool's selection distributes them. If
    /// the weights of its keys differ, the domain counts as much as the heaviest one.
    ///
    /// Sessions stay with their keys across restarts and replicas, because they depend only on this
    /// name. A key without a name is identified by a fingerprint of the key itself.
    #[must_use]
    pub fn cache_domain(mut self, name: impl Into<String>) -> Self {
        self.settings.cache_domain = Some(name.into().into());
        self
    }

    /// Attaches a value, such as the endpoint or the region of the key. Policies and inner layers read
    /// it with [`Key::extension`](crate::Key::extension). A key has at most one value of each type.
    #[must_use]
    pub fn extension<T: Any + Send + Sync>(mut self, value: T) -> Self {
        self.settings.extend(value);
        self
    }
}

impl From<&str> for NewKey {
    fn from(key: &str) -> Self {
        Self::new(key)
    }
}

impl From<String> for NewKey {
    fn from(key: String) -> Self {
        Self::new(key)
    }
}

impl From<SecretString> for NewKey {
    fn from(key: SecretString) -> Self {
        Self::new(key)
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
