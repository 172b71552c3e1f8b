use std::fmt;

use http::StatusCode;

/// Why a key was marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Too many requests or tokens in a short time.
    RateLimited,
    /// The credit, plan or budget is used up.
    Quota,
    /// The credential is not accepted, or no longer accepted.
    Unauthorized,
    /// The credential is accepted but not allowed to do this.
    Forbidden,
    /// An operator disabled the key.
    Operator,
    /// Anything else.
    Other,
}

impl Reason {
    pub(super) const ALL: [Self; 6] = [
        Self::RateLimited,
        Self::Quota,
        Self::Unauthorized,
        Self::Forbidden,
        Self::Operator,
        Self::Other,
    ];

    /// Returns the reason as one word, for logs, metrics and snapshots: `rate_limited`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Quota => "quota",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Operator => "operator",
            Self::Other => "other",
        }
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The cause of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) reason: Reason,
    /// The status of the response that refused the key, if a response did.
    pub(crate) status: Option<StatusCode>,
}

impl Cause {
    pub(super) const fn of(reason: Reason) -> Self {
        Self {
            reason,
            status: None,
        }
    }
}
