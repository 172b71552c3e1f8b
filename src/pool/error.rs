use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// Why a pool could not be built. Positions start at 0. The error never contains a key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no key.
    #[error("a key pool needs at least one key")]
    NoKeys,
    /// A key occurs twice.
    #[error("the key at position {position} repeats the one at position {first}")]
    #[non_exhaustive]
    DuplicateKey {
        /// The position of the first occurrence.
        first: usize,
        /// The position of the second occurrence.
        position: usize,
    },
    /// The key is empty or not a legal header value: it contains a control character, or starts or
    /// ends with white space.
    #[error("the key at position {position} is empty or not a legal header value")]
    #[non_exhaustive]
    InvalidKey {
        /// The position of the key.
        position: usize,
    },
    /// A group was named before any key was added.
    #[error("a group is named before any key")]
    GroupWithoutKey,
}

/// No key is usable now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub struct Exhausted {
    /// Whether any key will return by itself.
    pub kind: ExhaustedKind,
    /// The time until the first key returns. `None` if a key is valid already, or if no key will
    /// return by itself.
    pub retry_after: Option<Duration>,
}

/// Whether any key of an exhausted pool will return by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExhaustedKind {
    /// A key is valid, or its cooldown will end.
    RateLimited,
    /// Every key is permanently marked.
    Permanent,
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.retry_after) {
            (ExhaustedKind::Permanent, _) => {
                f.write_str("all configured keys failed authentication")
            }
            (ExhaustedKind::RateLimited, None) => {
                f.write_str("all configured keys are rate-limited")
            }
            (ExhaustedKind::RateLimited, Some(wait)) => write!(
                f,
                "all configured keys are rate-limited (retry after {wait:?})"
            ),
        }
    }
}
