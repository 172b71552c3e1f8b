//! OpenRouter: `{"error":{"code":<int>,"message","metadata"}}`.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::openai;
use crate::policy::dialect::{Dialect, Finding, Reach};
use crate::policy::error_response::ErrorResponse;
use crate::policy::{model_access, waits};

pub(super) const DIALECT: Dialect = Dialect {
    name: "openrouter",
    inspects: &[402, 403, 429],
    bills_with_402: true,
    status_of_event: Some(status_of_event),
    finding,
    ..openai::DIALECT
};

/// An error after the model has started is an event with the status that it would have had.
fn status_of_event(event: &ErrorResponse<'_>) -> Option<StatusCode> {
    let code = event.at("/error/code").as_u64()?;
    StatusCode::from_u16(u16::try_from(code).ok()?).ok()
}

fn finding(response: &ErrorResponse<'_>) -> Option<Finding> {
    let limit = response.text("/error/metadata/limit_source");
    let names = |what: &str| {
        limit.ends_with(what) || response.text("/error/metadata/error_type").contains(what)
    };
    match response.status().as_u16() {
        402 if names("in_flight_budget") => Some(Finding::RateLimited(Reach::Account, None)),
        // This request costs too much. Another account may afford it.
        402 if names("weight_exceeds_budget") || response.says(&["can only afford"]) => {
            Some(Finding::Here)
        }
        402 => Some(Finding::Quota(Reach::Account, resets_at(response))),
        403 if is_moderation(response) || is_upstream(response) => Some(Finding::NotTheKey),
        403 if is_not_allowed(response) => Some(Finding::NotTheKey),
        403 if !limit.is_empty() || response.says(&["key limit exceeded"]) => {
            Some(Finding::Quota(Reach::Account, resets_at(response)))
        }
        403 => model_access::finding(response),
        429 if is_upstream(response) => Some(Finding::NotTheKey),
        429 => Some(Finding::RateLimited(Reach::Scope, reset_in_body(response))),
        _ => None,
    }
}

fn is_moderation(response: &ErrorResponse<'_>) -> bool {
    let has = |pointer| !response.at(pointer).is_null();
    has("/error/metadata/reasons") || has("/error/metadata/flagged_input")
}

/// Whether the provider's terms or the caller's region forbid the request, with any key.
fn is_not_allowed(response: &ErrorResponse<'_>) -> bool {
    let metadata = response.at("/error/metadata");
    metadata.get("provider_name").is_some_and(Value::is_null)
        || response.says(&["terms of service", "in your region", "your country"])
}

/// Whether the provider behind OpenRouter refused the request.
fn is_upstream(response: &ErrorResponse<'_>) -> bool {
    let has = |pointer| !response.at(pointer).is_null();
    has("/error/metadata/provider_code") || has("/error/metadata/provider_name")
}

fn resets_at(response: &ErrorResponse<'_>) -> Option<Duration> {
    waits::until_moment(response, response.at("/error/metadata/resets_at"))
}

/// The headers of the limit may be in the body only.
fn reset_in_body(response: &ErrorResponse<'_>) -> Option<Duration> {
    let is_empty = response.text("/error/metadata/headers/X-RateLimit-Remaining") == "0";
    let reset = response.at("/error/metadata/headers/X-RateLimit-Reset");
    is_empty
        .then(|| waits::until_moment(response, reset))
        .flatten()
}
