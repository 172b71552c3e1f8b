//! What differs between the built-in policies, as data.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::Mark;
use super::credentials::Places;
use super::error_response::ErrorResponse;
use super::exhausted_response::{self, Exhaustion};
use super::scope_in_path::ScopeInPath;

/// What is specific to one provider. A provider that resembles another one uses that dialect with
/// a few fields replaced.
pub(super) struct Dialect {
    /// The provider's name in configuration files.
    pub(super) name: &'static str,
    /// The places in a request where credentials can be.
    pub(super) places: Places,
    /// Where the path names the scope of a request, if it does.
    pub(super) scope_in_path: ScopeInPath,
    /// Whether every request brings its own credential, even if none is found.
    pub(super) byok_only: bool,
    /// The statuses whose body can change the verdict.
    pub(super) inspects: &'static [u16],
    /// Whether the provider documents 402 as an exhausted quota.
    pub(super) bills_with_402: bool,
    /// The status that the first event of a stream represents, if a stream can start with an
    /// error.
    pub(super) status_of_event: Option<fn(&ErrorResponse<'_>) -> Option<StatusCode>>,
    /// What an inspected response says beyond its status, if anything.
    pub(super) finding: fn(&ErrorResponse<'_>) -> Option<Finding>,
    /// The body of the response when no key is left. It can add headers.
    pub(super) exhausted: fn(&Exhaustion, &mut HeaderMap) -> Value,
}

impl Dialect {
    /// Any provider with bearer keys. Statuses and timing headers count. The body of a 403, which
    /// may be forwarded, only tells whether an edge sent it.
    pub(super) const BEARER: Self = Self {
        name: "bearer",
        places: Places::BEARER,
        scope_in_path: |_| None,
        byok_only: false,
        inspects: &[403],
        bills_with_402: false,
        status_of_event: None,
        finding: |_| None,
        exhausted: exhausted_response::openai,
    };
}

/// What a response says beyond its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The credential, or the account behind it, is dead.
    Dead,
    /// The key works, but not for this request: another route or network would succeed.
    Here,
    /// The key works, but may not use the model.
    NoAccess,
    /// The key is not the cause: the provider is overloaded, or it refuses the request or its
    /// origin.
    NotTheKey,
    /// Credit, plan or budget is used up, until the reset if the response names one.
    Quota(Reach, Option<Duration>),
    /// Too many requests in a short time, with the wait if the response names one.
    RateLimited(Reach, Option<Duration>),
}

/// Which requests a limit applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// All requests of the account.
    Account,
    /// Requests with the same scope, if the request has one.
    Scope,
}

impl Reach {
    /// The mark, if it reaches this far.
    pub(super) fn limit(self, mark: Mark) -> Mark {
        match self {
            Self::Account => mark,
            Self::Scope => mark.in_scope(),
        }
    }
}
