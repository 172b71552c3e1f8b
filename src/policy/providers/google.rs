//! Google: Gemini (AI Studio) and Vertex AI, with
//! `{"error":{"code","message","status","details":[..]}}`.

use crate::policy::credentials::{Carrier, Places};
use crate::policy::dialect::{Dialect, Finding};
use crate::policy::error_response::ErrorResponse;
use crate::policy::{exhausted_response, waits};

pub(super) const VERTEX: Dialect = Dialect {
    name: "vertex",
    places: Places {
        carrier: Carrier::Bearer,
        accepts: &["x-goog-api-key"],
        ..GEMINI.places
    },
    bills_with_402: false,
    ..GEMINI
};

pub(super) const GEMINI: Dialect = Dialect {
    name: "gemini",
    places: Places {
        carrier: Carrier::Header("x-goog-api-key"),
        accepts: &["authorization"],
        accepts_in_query: &["key", "$key", "access_token", "oauth_token"],
        removes: &["x-goog-user-project"],
        ..Places::BEARER
    },
    inspects: &[400, 403, 429],
    bills_with_402: true,
    finding,
    exhausted: exhausted_response::google,
    ..Dialect::BEARER
};

pub(in crate::policy) fn finding(response: &ErrorResponse<'_>) -> Option<Finding> {
    match response.status().as_u16() {
        400 => bad_request(response),
        403 => forbidden(response),
        429 => too_many(response),
        _ => None,
    }
}

fn bad_request(response: &ErrorResponse<'_>) -> Option<Finding> {
    reasons(response)
        .any(|reason| matches!(reason, "API_KEY_INVALID" | "API_KEY_EXPIRED"))
        .then_some(Finding::Dead)
}

fn forbidden(response: &ErrorResponse<'_>) -> Option<Finding> {
    for reason in reasons(response) {
        match reason {
            "BILLING_DISABLED" => return Some(Finding::Quota(None)),
            // The whole API is closed to the key, or to its project.
            "SERVICE_DISABLED" => return Some(Finding::Dead),
            _ if reason.starts_with("API_KEY_") => return Some(Finding::Dead),
            _ if reason.starts_with("CONSUMER_") => return Some(Finding::Dead),
            _ => {}
        }
    }
    // Comes without details.
    if response.says(&["reported as leaked"]) {
        return Some(Finding::Dead);
    }
    // One model or resource. The newer API has a code in words instead of a status.
    let denied = response.text("/error/status") == "PERMISSION_DENIED"
        || response.text("/error/code") == "permission_denied";
    denied.then_some(Finding::Here)
}

fn too_many(response: &ErrorResponse<'_>) -> Option<Finding> {
    if violations(response).any(|quota| quota.contains("PerDay")) {
        return Some(Finding::Quota(waits::midnight_pacific(response.now())));
    }
    // "You exceeded your current quota, please check your plan and billing details" stands in a
    // limit per minute as well, and tells nothing. These words stand in one case alone.
    if response.says(&["prepayment credits are depleted"]) {
        return Some(Finding::Quota(None));
    }
    let detailed = !response.each("/error/details").is_empty();
    if !detailed && response.says(&["resource exhausted. please try again later"]) {
        return Some(Finding::NotTheKey);
    }
    None
}

fn reasons<'a>(response: &'a ErrorResponse<'_>) -> impl Iterator<Item = &'a str> {
    let details = response.each("/error/details").iter();
    details.filter_map(|detail| detail["reason"].as_str())
}

/// The ids of the quotas that were exceeded.
fn violations<'a>(response: &'a ErrorResponse<'_>) -> impl Iterator<Item = &'a str> {
    let details = response.each("/error/details").iter();
    details
        .filter_map(|detail| detail["violations"].as_array())
        .flatten()
        .filter_map(|violation| violation["quotaId"].as_str())
}
