//! What differs between the built-in policies.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::answer::Answer;
use super::exhausted::Refusal;

/// What one provider does its own way. A provider like another is that one's dialect with a few
/// fields replaced.
#[derive(Clone, Copy)]
pub(super) struct Dialect {
    /// What configuration files call the provider.
    pub(super) name: &'static str,
    /// Where its answers say what they mean.
    pub(super) protocol: Protocol,
    /// How a key travels.
    pub(super) carrier: Carrier,
    /// Whether every request brings its own credential, seen or not.
    pub(super) byok_only: bool,
    /// Further headers in which the provider accepts a credential: a caller's own may stand there.
    pub(super) accepts: &'static [&'static str],
    /// Items of the query in which the provider accepts a credential.
    pub(super) accepts_in_query: &'static [&'static str],
    /// Headers that are no credential themselves but belong to the caller's.
    pub(super) removes: &'static [&'static str],
    /// Items of comma lists that belong to the caller's credential: the header, and the item,
    /// where a `*` at the end stands for anything.
    pub(super) removes_items: &'static [(&'static str, &'static str)],
    /// The statuses whose body can change the verdict.
    pub(super) inspects: &'static [u16],
    /// Whether the provider documents 402 as an exhausted quota.
    pub(super) bills_with_402: bool,
    /// The status that the first event of a stream stands for, where a stream may begin with an
    /// error.
    pub(super) status_of_event: Option<fn(&Answer<'_>) -> Option<StatusCode>>,
    /// What an answer of such a status says beyond it, where it says anything.
    pub(super) finding: fn(&Answer<'_>) -> Option<Finding>,
    /// The body, and headers if need be, of the answer when no key is left.
    pub(super) exhausted: fn(&Refusal, &mut HeaderMap) -> Value,
}

/// Where an answer says what it means.
#[derive(Clone, Copy)]
pub(super) enum Protocol {
    /// In its status, and in a JSON body.
    Http,
    /// In metadata, which is the head or the trailers; what has none there, in its status.
    #[cfg(feature = "grpc")]
    Grpc,
}

/// How a key travels.
#[derive(Clone, Copy)]
pub(super) enum Carrier {
    /// `authorization: Bearer <key>`.
    Bearer,
    /// The key alone, in the header of this name.
    Header(&'static str),
}

/// What an answer says beyond its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The credential, or the account behind it, is dead.
    Dead,
    /// The key lives, but may not do this: another model, route or network would do.
    Here,
    /// It is not the key: the provider is overloaded, or the request or its origin is refused.
    NotTheKey,
    /// Credit, plan or budget is used up, until the reset if one is named.
    Quota(Option<Duration>),
    /// Too much in a short time; with the wait if one is named.
    RateLimited(Option<Duration>),
}
