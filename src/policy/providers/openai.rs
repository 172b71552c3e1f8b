//! OpenAI, and the error shape that many providers share:
//! `{"error":{"message","type","param","code"}}`.

use crate::policy::credentials::Places;
use crate::policy::dialect::{Dialect, Finding, Reach};
use crate::policy::error_response::ErrorResponse;
use crate::policy::{exhausted_response, model_access, request_size};

pub(super) const DIALECT: Dialect = Dialect {
    name: "openai",
    places: PLACES,
    inspects: &[401, 403, 429],
    finding,
    exhausted: exhausted_response::openai,
    ..Dialect::BEARER
};

/// The organization and the project belong to the account of the caller's key.
pub(super) const PLACES: Places = Places {
    removes: &["openai-organization", "openai-project"],
    // Browsers, which cannot set headers, send these with a WebSocket.
    accepts_in_lists: &[("sec-websocket-protocol", "openai-insecure-api-key.")],
    removes_items: &[
        ("sec-websocket-protocol", "openai-insecure-api-key.*"),
        ("sec-websocket-protocol", "openai-organization.*"),
        ("sec-websocket-protocol", "openai-project.*"),
    ],
    ..Places::BEARER
};

pub(super) fn finding(response: &ErrorResponse<'_>) -> Option<Finding> {
    let kind = response.text("/error/type");
    let code = response.text("/error/code");
    if is_quota(kind) || is_quota(code) {
        return Some(Finding::Quota(Reach::Account, None));
    }
    if is_overload(kind) || is_overload(code) {
        return Some(Finding::NotTheKey);
    }
    let is_country = code == "unsupported_country_region_territory"
        || response.says(&["country, region, or territory not supported"]);
    if is_country {
        return Some(Finding::NotTheKey);
    }
    // A restricted key and a network that is not allowed have no code of their own.
    match response.status().as_u16() {
        401 | 403 if response.says(&["missing scopes", "insufficient permissions"]) => {
            Some(Finding::Here)
        }
        401 if response.says(&["ip not authorized", "ip address", "ip allowlist"]) => {
            Some(Finding::Here)
        }
        // Also explains itself under another status.
        403 => model_access::finding(response).or(is_dead(code).then_some(Finding::Dead)),
        // The traffic of the organization grows too fast.
        429 if code == "slow_down" => Some(Finding::RateLimited(Reach::Account, None)),
        429 if request_size::never_fits(response) => Some(Finding::Here),
        _ => None,
    }
}

/// The codes of keys and accounts that are dead, which a 401 has, too.
fn is_dead(code: &str) -> bool {
    matches!(
        code,
        "account_deactivated" | "invalid_api_key" | "organization_deactivated"
    )
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
