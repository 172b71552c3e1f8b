use std::error::Error;
use std::fmt;
use std::time::Duration;

/// Why a pool could not be built. Positions start at 0. The error never contains a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no key.
    NoKeys,
    /// A key occurs twice.
    #[non_exhaustive]
    DuplicateKey {
        /// The position of the first occurrence.
        first: usize,
        /// The position of the second occurrence.
        position: usize,
    },
    /// Two keys have the same label.
    #[non_exhaustive]
    DuplicateLabel {
        /// The position of the first key with the label.
        first: usize,
        /// The position of the second key with the label.
        position: usize,
    },
    /// The key cannot be sent.
    #[non_exhaustive]
    InvalidKey {
        /// The position of the key.
        position: usize,
        /// Whether the key is empty, has white space around it, or contains a control character, and
        /// what to do.
        problem: &'static str,
    },
    /// A setting of a key is out of range.
    #[non_exhaustive]
    InvalidSetting {
        /// The position of the key.
        position: usize,
        /// What is wrong, and what to do.
        problem: &'static str,
    },
    /// A setting of a group is out of range, or contradicts another one.
    #[non_exhaustive]
    InvalidGroup {
        /// The name of the group.
        name: Box<str>,
        /// What is wrong, and what to do.
        problem: &'static str,
    },
    /// The builder has no key that a setting could apply to.
    #[non_exhaustive]
    SettingWithoutKey {
        /// The name of the builder's method.
        setting: &'static str,
    },
}

/// No key is usable now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// Whether any key will return by itself.
    pub kind: ExhaustedKind,
    /// The time until the first key returns. `None` if a key is valid already, such as one at its
    /// [cap](crate::pool::NewKey::max_in_flight), or if no key will return by itself.
    pub retry_after: Option<Duration>,
}

/// Whether any key of an exhausted pool will return by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExhaustedKind {
    /// A key is valid, or its cooldown will end.
    RateLimited,
    /// Every key is permanently marked, and at least one of them by a response.
    Permanent,
    /// Every key was [disabled](crate::KeyPool::disable) by an operator.
    Disabled,
    /// The request requires a key or a group that the pool does not have: see
    /// [`KeyChoice::pin_key`](crate::pool::KeyChoice::pin_key).
    UnknownPin,
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.retry_after) {
            (ExhaustedKind::Permanent, _) => {
                f.write_str("all configured keys failed authentication")
            }
            (ExhaustedKind::Disabled, _) => f.write_str("all configured keys are disabled"),
            (ExhaustedKind::UnknownPin, _) => {
                f.write_str(
                    "no configured key has the label or group that the request requires: add such a key, or \
                     correct the pin",
                )
            }
            (ExhaustedKind::RateLimited, None) => {
                f.write_str("all configured keys are in use or rate-limited")
            }
            (ExhaustedKind::RateLimited, Some(wait)) => write!(
                f,
                "all configured keys are rate-limited (retry after {wait:?})"
            ),
        }
    }
}

impl Error for Exhausted {}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKeys => f.write_str("a key pool needs at least one key"),
            Self::DuplicateKey { first, position } => write!(
                f,
                "the key at position {position} repeats the one at position {first}: remove one of them"
            ),
            Self::DuplicateLabel { first, position } => write!(
                f,
                "the key at position {position} has the same label as the one at position {first}: rename one of \
                 them"
            ),
            Self::InvalidKey { position, problem } => {
                write!(f, "the key at position {position} {problem}")
            }
            Self::InvalidSetting { position, problem } => {
                write!(
                    f,
                    "the key at position {position} is set up wrong: {problem}"
                )
            }
            Self::InvalidGroup { name, problem } => {
                write!(f, "the group {name:?} is set up wrong: {problem}")
            }
            Self::SettingWithoutKey { setting } => write!(
                f,
                "`{setting}` applies to the last key that was added: add a key before it"
            ),
        }
    }
}

impl Error for BuildError {}
