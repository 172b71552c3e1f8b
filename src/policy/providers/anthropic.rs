//! Anthropic: `{"type":"error","error":{"type","message","details":{"error_code"}}}`.

use http::StatusCode;

use crate::policy::credentials::{Carrier, Places};
use crate::policy::dialect::{Dialect, Finding, Reach};
use crate::policy::error_response::ErrorResponse;
use crate::policy::{exhausted_response, request_size, waits};

pub(super) const DIALECT: Dialect = Dialect {
    name: "anthropic",
    places: Places {
        carrier: Carrier::Header("x-api-key"),
        // OAuth tokens, and API keys of newer SDKs.
        accepts: &["authorization"],
        removes_items: &[("anthropic-beta", "oauth-2025-04-20")],
        ..Places::BEARER
    },
    inspects: &[400, 403, 429],
    bills_with_402: true,
    status_of_event: Some(status_of_event),
    finding,
    exhausted: exhausted_response::anthropic,
    ..Dialect::BEARER
};

/// A stream can begin with an event that contains the body of an error.
fn status_of_event(event: &ErrorResponse<'_>) -> Option<StatusCode> {
    match event.text("/error/type") {
        "authentication_error" => Some(StatusCode::UNAUTHORIZED),
        "billing_error" => Some(StatusCode::PAYMENT_REQUIRED),
        "permission_error" => Some(StatusCode::FORBIDDEN),
        "rate_limit_error" => Some(StatusCode::TOO_MANY_REQUESTS),
        _ => None,
    }
}

const QUOTA: Finding = Finding::Quota(Reach::Account, None);

/// The limits of a subscription concern the account, except for those of one class of models.
fn reach_of_subscription(response: &ErrorResponse<'_>) -> Reach {
    let claim = response.header("anthropic-ratelimit-unified-representative-claim");
    if claim.starts_with("seven_day_") {
        Reach::Scope
    } else {
        Reach::Account
    }
}

fn finding(response: &ErrorResponse<'_>) -> Option<Finding> {
    // The wording can change. The provider recommends `error_code`, and then `type`.
    match response.text("/error/details/error_code") {
        "organization_on_hold" => return Some(Finding::Dead),
        "enforced_spend_limit_reached" => {
            let reset = waits::next_month(response.now());
            return Some(Finding::Quota(Reach::Account, reset));
        }
        "ramp_limit_exceeded" => return Some(Finding::RateLimited(Reach::Account, None)),
        code if code.ends_with("_spend_limit_reached") => return Some(QUOTA),
        _ => {}
    }
    // A message can go on with the caller's own words, so only its start counts.
    let begins = |start| response.text("/error/message").starts_with(start);
    match (response.status().as_u16(), response.text("/error/type")) {
        (429, _) if request_size::never_fits(response) => Some(Finding::Here),
        (429, _) if begins("This request would exceed your account's rate limit") => {
            Some(Finding::RateLimited(reach_of_subscription(response), None))
        }
        (_, "overloaded_error") => Some(Finding::NotTheKey),
        (_, "billing_error") => Some(QUOTA),
        (400, _) if begins("Your credit balance is too low") => Some(QUOTA),
        (400, _) if begins("You have reached your specified") => Some(QUOTA),
        (400, _) if begins("This organization has been disabled") => Some(Finding::Dead),
        // The token works, but not for this endpoint.
        (403, "permission_error") if begins("OAuth token does not meet scope") => {
            Some(Finding::Here)
        }
        // The token itself was revoked, or is not allowed for its organization.
        (403, "permission_error") if begins("OAuth ") => Some(Finding::Dead),
        (403, "permission_error") => Some(Finding::Here),
        // The edge in front of the API refuses the caller's region like this.
        (403, "forbidden") => Some(Finding::NotTheKey),
        _ => None,
    }
}
