//! OpenRouter: `{"error":{"code":<int>,"message","metadata"}}`.

use std::time::Duration;

use http::StatusCode;

use super::answer::Answer;
use super::dialect::{Dialect, Finding};
use super::provider::policy;
use super::{hints, openai};

policy! {
    /// OpenRouter: `authorization: Bearer <key>`.
    ///
    /// A 429 of the provider behind it and a 403 of its moderation are not about the key; a 402
    /// and a 403 that name a budget are. The error's `metadata` tells.
    OpenRouter,
    Dialect {
        name: "openrouter",
        inspects: &[402, 403, 429],
        bills_with_402: true,
        status_of_event: Some(status_of_event),
        finding,
        ..openai::DIALECT
    }
}

/// An error once the model has been asked comes as an event with the status that it would have had.
fn status_of_event(event: &Answer<'_>) -> Option<StatusCode> {
    let code = event.at("/error/code").as_u64()?;
    StatusCode::from_u16(u16::try_from(code).ok()?).ok()
}

fn finding(answer: &Answer<'_>) -> Option<Finding> {
    let limit = answer.text("/error/metadata/limit_source");
    let names = |what: &str| {
        limit.ends_with(what) || answer.text("/error/metadata/error_type").contains(what)
    };
    match answer.status().as_u16() {
        402 if names("in_flight_budget") => Some(Finding::RateLimited(None)),
        402 if names("weight_exceeds_budget") => Some(Finding::NotTheKey),
        402 => Some(Finding::Quota(resets_at(answer))),
        403 if is_moderation(answer) || is_upstream(answer) => Some(Finding::NotTheKey),
        403 if !limit.is_empty() => Some(Finding::Quota(resets_at(answer))),
        429 if is_upstream(answer) => Some(Finding::NotTheKey),
        429 => Some(Finding::RateLimited(reset_in_body(answer))),
        _ => None,
    }
}

fn is_moderation(answer: &Answer<'_>) -> bool {
    let stands = |pointer| !answer.at(pointer).is_null();
    stands("/error/metadata/reasons") || stands("/error/metadata/flagged_input")
}

/// Whether the provider behind OpenRouter refused, which no key of ours can help.
fn is_upstream(answer: &Answer<'_>) -> bool {
    let stands = |pointer| !answer.at(pointer).is_null();
    stands("/error/metadata/provider_code") || stands("/error/metadata/provider_name")
}

fn resets_at(answer: &Answer<'_>) -> Option<Duration> {
    hints::until_moment(answer, answer.at("/error/metadata/resets_at"))
}

/// The limit's headers may stand in the body alone.
fn reset_in_body(answer: &Answer<'_>) -> Option<Duration> {
    let is_empty = answer.text("/error/metadata/headers/X-RateLimit-Remaining") == "0";
    let reset = answer.at("/error/metadata/headers/X-RateLimit-Reset");
    is_empty
        .then(|| hints::until_moment(answer, reset))
        .flatten()
}
