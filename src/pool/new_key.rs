use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;

/// A key that is to go into a pool, with what is said of it.
///
/// Anything that is a key's text is one without a label.
pub struct NewKey {
    pub(super) text: SecretString,
    pub(super) label: Option<Arc<str>>,
    pub(super) group: Option<Arc<str>>,
}

impl NewKey {
    /// A key without a label.
    pub fn new(key: impl Into<SecretString>) -> Self {
        Self {
            text: key.into(),
            label: None,
            group: None,
        }
    }

    /// The name by which people know the key.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into().into());
        self
    }

    /// The organisation or project whose limit the key shares with others of the group.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into().into());
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
            .field("label", &self.label)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}
