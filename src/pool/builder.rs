use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::KeyPool;
use super::clock::Clock;
use super::error::BuildError;
use super::keys::{Entry, Keys};
use super::secret::Secret;
use super::word::Word;

/// Builds a [`KeyPool`] with labels, a name and cooldowns.
///
/// See the [module docs](super).
pub struct KeyPoolBuilder {
    name: Box<str>,
    keys: Vec<(Option<Box<str>>, SecretString)>,
    default_cooldown: Duration,
    max_cooldown: Duration,
}

impl KeyPoolBuilder {
    pub(super) fn new() -> Self {
        Self {
            name: Box::default(),
            keys: Vec::new(),
            default_cooldown: Duration::from_secs(60),
            max_cooldown: Duration::from_secs(24 * 60 * 60),
        }
    }

    /// Names the pool, for people.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into().into();
        self
    }

    /// Adds a key behind those added before.
    #[must_use]
    pub fn key(mut self, key: impl Into<SecretString>) -> Self {
        self.keys.push((None, key.into()));
        self
    }

    /// Adds a key with a label, by which people know it.
    #[must_use]
    pub fn labeled_key(mut self, label: impl Into<String>, key: impl Into<SecretString>) -> Self {
        self.keys.push((Some(label.into().into()), key.into()));
        self
    }

    /// How long a key is out when the provider named no wait. Default: 60 seconds.
    #[must_use]
    pub fn default_cooldown(mut self, cooldown: Duration) -> Self {
        self.default_cooldown = cooldown;
        self
    }

    /// The longest that a key is out, whatever the provider said. Default: 24 hours.
    #[must_use]
    pub fn max_cooldown(mut self, cooldown: Duration) -> Self {
        self.max_cooldown = cooldown;
        self
    }

    /// Builds the pool. Every key starts valid.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when there is no key, when one stands twice, or when one is empty or not a
    /// legal header value.
    pub fn build(self) -> Result<KeyPool, BuildError> {
        if self.keys.is_empty() {
            return Err(BuildError::NoKeys);
        }
        let entries = self
            .keys
            .into_iter()
            .enumerate()
            .map(|(position, (label, text))| {
                let secret = Secret::new(text).ok_or(BuildError::InvalidKey { position })?;
                Ok(Entry { secret, label })
            })
            .collect::<Result<Box<[_]>, _>>()?;
        refuse_duplicates(&entries)?;
        Ok(KeyPool {
            keys: Arc::new(Keys {
                name: self.name,
                words: entries.iter().map(|_| Word::new()).collect(),
                entries,
                clock: Clock::start(),
                default_cooldown: self.default_cooldown,
                max_cooldown: self.max_cooldown,
            }),
        })
    }
}

fn refuse_duplicates(entries: &[Entry]) -> Result<(), BuildError> {
    let mut seen = HashMap::with_capacity(entries.len());
    for (position, entry) in entries.iter().enumerate() {
        if let Some(first) = seen.insert(entry.secret.expose(), position) {
            return Err(BuildError::DuplicateKey { first, position });
        }
    }
    Ok(())
}

impl fmt::Debug for KeyPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPoolBuilder")
            .field("name", &self.name)
            .field("keys", &self.keys.len())
            .field("default_cooldown", &self.default_cooldown)
            .field("max_cooldown", &self.max_cooldown)
            .finish()
    }
}
