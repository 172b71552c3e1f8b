//! What a key's owner says about it, apart from its secret.

use std::any::{Any, TypeId};
use std::fmt;
use std::sync::Arc;

use super::error::BuildError;

pub(super) struct KeySettings {
    pub(super) label: Option<Arc<str>>,
    pub(super) group: Option<Arc<str>>,
    pub(super) weight: u32,
    pub(super) tier: u32,
    pub(super) max_in_flight: Option<u32>,
    pub(super) cache_domain: Option<Arc<str>>,
    extensions: Vec<Extension>,
}

type Extension = Box<dyn Any + Send + Sync>;

impl KeySettings {
    /// The greatest weight. Larger ratios are almost always a mistake.
    pub(super) const MAX_WEIGHT: u32 = 1000;

    /// Adds a value, or replaces the one of the same type.
    pub(super) fn extend<T: Any + Send + Sync>(&mut self, value: T) {
        self.extensions
            .retain(|other| (**other).type_id() != TypeId::of::<T>());
        self.extensions.push(Box::new(value));
    }

    pub(super) fn extension<T: Any>(&self) -> Option<&T> {
        let mut extensions = self.extensions.iter();
        extensions.find_map(|value| value.downcast_ref())
    }

    /// Checks the settings of the key at `position`.
    pub(super) fn check(&self, position: usize) -> Result<(), BuildError> {
        let is_empty = |name: &Option<Arc<str>>| name.as_deref() == Some("");
        let problem = match self {
            Self { label, .. } if is_empty(label) => "its label is empty: name it, or leave it out",
            Self { group, .. } if is_empty(group) => "its group is empty: name it, or leave it out",
            Self { weight: 0, .. } => {
                "its weight is 0: set it to 1 or more, and disable or remove a key that no request should use"
            }
            Self { weight, .. } if *weight > Self::MAX_WEIGHT => {
                "its weight is above 1000: weights are relative, so divide all of them by the same number"
            }
            Self { tier: 0, .. } => "its tier is 0: the first tier is 1",
            Self {
                max_in_flight: Some(0),
                ..
            } => {
                "its max_in_flight is 0: set it to 1 or more, and disable or remove a key that no request should use"
            }
            Self { cache_domain, .. } if is_empty(cache_domain) => {
                "its cache_domain is empty: name it, or leave it out to use the group or the label"
            }
            _ => return Ok(()),
        };
        Err(BuildError::InvalidSetting { position, problem })
    }
}

impl Default for KeySettings {
    fn default() -> Self {
        Self {
            label: None,
            group: None,
            weight: 1,
            tier: 1,
            max_in_flight: None,
            cache_domain: None,
            extensions: Vec::new(),
        }
    }
}

impl fmt::Debug for KeySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An extension may contain a secret.
        f.debug_struct("KeySettings")
            .field("label", &self.label)
            .field("group", &self.group)
            .field("weight", &self.weight)
            .field("tier", &self.tier)
            .field("max_in_flight", &self.max_in_flight)
            .field("cache_domain", &self.cache_domain)
            .finish_non_exhaustive()
    }
}
