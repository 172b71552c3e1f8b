//! Anthropic: `{"type":"error","error":{"type","message","details":{"error_code"}}}`.

use http::StatusCode;

use super::answer::Answer;
use super::dialect::{Carrier, Dialect, Finding, Protocol};
use super::provider::policy;
use super::{exhausted, hints};

policy! {
    /// Anthropic: `x-api-key: <key>`.
    ///
    /// An empty balance, a spend limit and an organization on hold are 400s; a 403 means one
    /// resource, unless the OAuth token itself was revoked. Keys of its newer SDKs and OAuth
    /// tokens arrive in `authorization`, which counts as the caller's own credential too; the
    /// `oauth-2025-04-20` item of `anthropic-beta` goes with it.
    Anthropic,
    Dialect {
        name: "anthropic",
        protocol: Protocol::Http,
        carrier: Carrier::Header("x-api-key"),
        byok_only: false,
        accepts: &["authorization"],
        accepts_in_query: &[],
        removes: &[],
        removes_items: &[("anthropic-beta", "oauth-2025-04-20")],
        inspects: &[400, 403, 429],
        bills_with_402: true,
        status_of_event: Some(status_of_event),
        finding,
        exhausted: exhausted::anthropic,
    }
}

/// A stream may begin with an event that is an error's body.
fn status_of_event(event: &Answer<'_>) -> Option<StatusCode> {
    match event.text("/error/type") {
        "authentication_error" => Some(StatusCode::UNAUTHORIZED),
        "billing_error" => Some(StatusCode::PAYMENT_REQUIRED),
        "permission_error" => Some(StatusCode::FORBIDDEN),
        "rate_limit_error" => Some(StatusCode::TOO_MANY_REQUESTS),
        _ => None,
    }
}

fn finding(answer: &Answer<'_>) -> Option<Finding> {
    // Wording may change: the provider says to go by `error_code`, and then by `type`.
    match answer.text("/error/details/error_code") {
        "organization_on_hold" => return Some(Finding::Dead),
        "enforced_spend_limit_reached" => {
            return Some(Finding::Quota(hints::next_month(answer.now())));
        }
        code if code.ends_with("_spend_limit_reached") => return Some(Finding::Quota(None)),
        _ => {}
    }
    // A message may go on with the caller's own words: only how it begins counts.
    let begins = |start| answer.text("/error/message").starts_with(start);
    match (answer.status().as_u16(), answer.text("/error/type")) {
        (_, "overloaded_error") => Some(Finding::NotTheKey),
        (_, "billing_error") => Some(Finding::Quota(None)),
        (400, _) if begins("Your credit balance is too low") => Some(Finding::Quota(None)),
        (400, _) if begins("You have reached your specified") => Some(Finding::Quota(None)),
        (400, _) if begins("This organization has been disabled") => Some(Finding::Dead),
        // About the token itself: revoked, or not allowed for its organization.
        (403, "permission_error") if begins("OAuth ") => Some(Finding::Dead),
        (403, "permission_error") => Some(Finding::Here),
        // What stands before the API refuses the caller's region so.
        (403, "forbidden") => Some(Finding::NotTheKey),
        _ => None,
    }
}
