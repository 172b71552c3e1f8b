//! OpenAI, and the shape of error that many others share with it:
//! `{"error":{"message","type","param","code"}}`.

use super::answer::Answer;
use super::dialect::{Carrier, Dialect, Finding, Protocol};
use super::exhausted;
use super::provider::policy;

policy! {
    /// OpenAI: `authorization: Bearer <key>`.
    ///
    /// An exhausted quota is a 429 like any other but for its `type` and `code`. A 401 may be a
    /// restricted key that lacks a scope, or a network that is not on a list: such a key is kept.
    ///
    /// The caller's `openai-organization` and `openai-project` are removed with its credential,
    /// since they belong to its account.
    OpenAi,
    DIALECT
}

pub(super) const DIALECT: Dialect = Dialect {
    name: "openai",
    protocol: Protocol::Http,
    carrier: Carrier::Bearer,
    byok_only: false,
    accepts: &[],
    accepts_in_query: &[],
    removes: &["openai-organization", "openai-project"],
    // How a browser brings its key to a WebSocket.
    removes_items: &[
        ("sec-websocket-protocol", "openai-insecure-api-key.*"),
        ("sec-websocket-protocol", "openai-organization.*"),
        ("sec-websocket-protocol", "openai-project.*"),
    ],
    inspects: &[401, 403, 429],
    bills_with_402: false,
    status_of_event: None,
    finding,
    exhausted: exhausted::openai,
};

pub(super) fn finding(answer: &Answer<'_>) -> Option<Finding> {
    let kind = answer.text("/error/type");
    let code = answer.text("/error/code");
    if is_quota(kind) || is_quota(code) {
        return Some(Finding::Quota(None));
    }
    if is_overload(kind) || is_overload(code) {
        return Some(Finding::NotTheKey);
    }
    match code {
        "unsupported_country_region_territory" => return Some(Finding::NotTheKey),
        // No access from this project, where others may have it.
        "model_not_found" => return Some(Finding::Here),
        _ => {}
    }
    // A restricted key and an unlisted network have no code of their own.
    match answer.status().as_u16() {
        401 | 403 if answer.says(&["missing scopes", "insufficient permissions"]) => {
            Some(Finding::Here)
        }
        401 if answer.says(&["ip not authorized", "ip address", "ip allowlist"]) => {
            Some(Finding::Here)
        }
        _ => None,
    }
}

fn is_quota(code: &str) -> bool {
    matches!(code, "insufficient_quota" | "credit_balance_exhausted")
        || code.starts_with("billing_")
        || code.ends_with("_spend_limit_exceeded")
        || code.ends_with("_usage_limit_exceeded")
}

fn is_overload(code: &str) -> bool {
    matches!(
        code,
        "server_is_overloaded"
            | "engine_overloaded"
            | "overloaded_error"
            | "server_error"
            | "service_unavailable_error"
    )
}
