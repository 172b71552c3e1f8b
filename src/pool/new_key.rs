use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;

/// A key to add to a pool, with its label and group.
///
/// A string converts to a key without a label and group.
pub struct NewKey {
    pub(super) text: SecretString,
    pub(super) label: Option<Arc<str>>,
    pub(super) group: Option<Arc<str>>,
}

impl NewKey {
    /// Creates a key without a label and group.
    pub fn new(key: impl Into<SecretString>) -> Self {
        Self {
            text: key.into(),
            label: None,
            group: None,
        }
    }

    /// Sets the label, which identifies the key to people.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into().into());
        self
    }

    /// Sets the group: the organisation or project whose rate limit the key shares with other keys.
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
