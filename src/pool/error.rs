use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// Why a pool cannot be built. Positions count from 0; the text of a key is never shown.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no key.
    #[error("a key pool needs at least one key")]
    NoKeys,
    /// The same key stands twice.
    #[error("the key at position {position} repeats the one at position {first}")]
    #[non_exhaustive]
    DuplicateKey {
        /// Where the key stands first.
        first: usize,
        /// Where it stands again.
        position: usize,
    },
    /// The key is empty, or cannot stand in a header: it has a control character, or white space
    /// at an end.
    #[error("the key at position {position} is empty or not a legal header value")]
    #[non_exhaustive]
    InvalidKey {
        /// Where the key stands.
        position: usize,
    },
    /// A group was named before there was a key to put into it.
    #[error("a group is named before any key")]
    GroupWithoutKey,
}

/// No key can be had now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub struct Exhausted {
    /// Whether any key will return by itself.
    pub kind: ExhaustedKind,
    /// How long until the first key returns; `None` where that is unknown, because a key is valid
    /// already, or because none will return.
    pub retry_after: Option<Duration>,
}

/// Whether any key of an exhausted pool returns by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExhaustedKind {
    /// Some key is valid, or will be.
    RateLimited,
    /// Every key is out for good.
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
