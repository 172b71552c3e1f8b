//! OpenRouter: `{"error":{"code":<int>,"message","metadata"}}`.

use std::time::Duration;

use http::StatusCode;

use super::openai;
use crate::policy::dialect::{Dialect, Finding};
use crate::policy::error_response::ErrorResponse;
use crate::policy::waits;

pub(super) const DIALECT: Dialect = Dialect {
    name: "openrouter",
    inspects: &[402, 403, 429],
    bills_with_402: true,
    status_of_event: Some(status_of_event),
    finding,
    ..openai::DIALECT
};

/// An error once the model has been asked comes as an event with the status that it would have had.
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
        402 if names("in_flight_budget") => Some(Finding::RateLimited(None)),
        402 if names("weight_exceeds_budget") => Some(Finding::NotTheKey),
        402 => Some(Finding::Quota(resets_at(response))),
        403 if is_moderation(response) || is_upstream(response) => Some(Finding::NotTheKey),
        403 if !limit.is_empty() => Some(Finding::Quota(resets_at(response))),
        429 if is_upstream(response) => Some(Finding::NotTheKey),
        429 => Some(Finding::RateLimited(reset_in_body(response))),
        _ => None,
    }
}

fn is_moderation(response: &ErrorResponse<'_>) -> bool {
    let stands = |pointer| !response.at(pointer).is_null();
    stands("/error/metadata/reasons") || stands("/error/metadata/flagged_input")
}

/// Whether the provider behind OpenRouter refused, which no key of ours can help.
fn is_upstream(response: &ErrorResponse<'_>) -> bool {
    let stands = |pointer| !response.at(pointer).is_null();
    stands("/error/metadata/provider_code") || stands("/error/metadata/provider_name")
}

fn resets_at(response: &ErrorResponse<'_>) -> Option<Duration> {
    waits::until_moment(response, response.at("/error/metadata/resets_at"))
}

/// The limit's headers may stand in the body alone.
fn reset_in_body(response: &ErrorResponse<'_>) -> Option<Duration> {
    let is_empty = response.text("/error/metadata/headers/X-RateLimit-Remaining") == "0";
    let reset = response.at("/error/metadata/headers/X-RateLimit-Reset");
    is_empty
        .then(|| waits::until_moment(response, reset))
        .flatten()
}
