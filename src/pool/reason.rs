use std::fmt;

use http::StatusCode;

/// Why a key was marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Too many requests or tokens in a short time.
    RateLimited,
    /// Credit, plan or budget is used up.
    Quota,
    /// The credential is not (or no longer) accepted.
    Unauthorized,
    /// The credential is accepted, and not allowed to do this.
    Forbidden,
    /// A person took the key out.
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

    /// The reason in one word, as it stands in logs, metrics and snapshots: `rate_limited`.
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

/// What a mark is told of its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) reason: Reason,
    /// That of the answer which refused the key, if it was one.
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
