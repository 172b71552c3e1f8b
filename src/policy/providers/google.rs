//! Google: Gemini (AI Studio) and Vertex AI, with
//! `{"error":{"code","message","status","details":[..]}}`.

use super::answer::Answer;
use super::dialect::{Carrier, Dialect, Finding, Protocol};
use super::provider::policy;
use super::{exhausted, hints};

policy! {
    /// Gemini of Google AI Studio: `x-goog-api-key: <key>`.
    ///
    /// A bad key is a 400; the `reason` in the error's details tells. A limit per day lasts until
    /// midnight in Los Angeles, whatever `RetryInfo` says. `?key=` and a bearer are the caller's
    /// own credential too.
    Gemini,
    GEMINI
}

policy! {
    /// Vertex AI: `authorization: Bearer <token>`.
    ///
    /// A 429 without details is the region's capacity, which all keys share, and is forwarded.
    Vertex,
    Dialect {
        name: "vertex",
        carrier: Carrier::Bearer,
        accepts: &["x-goog-api-key"],
        bills_with_402: false,
        ..GEMINI
    }
}

const GEMINI: Dialect = Dialect {
    name: "gemini",
    protocol: Protocol::Http,
    carrier: Carrier::Header("x-goog-api-key"),
    byok_only: false,
    accepts: &["authorization"],
    accepts_in_query: &["key", "$key", "access_token", "oauth_token"],
    removes: &["x-goog-user-project"],
    removes_items: &[],
    inspects: &[400, 403, 429],
    bills_with_402: true,
    status_of_event: None,
    finding,
    exhausted: exhausted::google,
};

pub(super) fn finding(answer: &Answer<'_>) -> Option<Finding> {
    match answer.status().as_u16() {
        400 => bad_request(answer),
        403 => forbidden(answer),
        429 => too_many(answer),
        _ => None,
    }
}

fn bad_request(answer: &Answer<'_>) -> Option<Finding> {
    reasons(answer)
        .any(|reason| matches!(reason, "API_KEY_INVALID" | "API_KEY_EXPIRED"))
        .then_some(Finding::Dead)
}

fn forbidden(answer: &Answer<'_>) -> Option<Finding> {
    for reason in reasons(answer) {
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
    if answer.says(&["reported as leaked"]) {
        return Some(Finding::Dead);
    }
    // One model or resource. The newer API has a code in words instead of a status.
    let denied = answer.text("/error/status") == "PERMISSION_DENIED"
        || answer.text("/error/code") == "permission_denied";
    denied.then_some(Finding::Here)
}

fn too_many(answer: &Answer<'_>) -> Option<Finding> {
    if violations(answer).any(|quota| quota.contains("PerDay")) {
        return Some(Finding::Quota(hints::midnight_pacific(answer.now())));
    }
    // "You exceeded your current quota, please check your plan and billing details" stands in a
    // limit per minute as well, and tells nothing. These words stand in one case alone.
    if answer.says(&["prepayment credits are depleted"]) {
        return Some(Finding::Quota(None));
    }
    let detailed = !answer.each("/error/details").is_empty();
    if !detailed && answer.says(&["resource exhausted. please try again later"]) {
        return Some(Finding::NotTheKey);
    }
    None
}

fn reasons<'a>(answer: &'a Answer<'_>) -> impl Iterator<Item = &'a str> {
    let details = answer.each("/error/details").iter();
    details.filter_map(|detail| detail["reason"].as_str())
}

/// The ids of the quotas that were exceeded.
fn violations<'a>(answer: &'a Answer<'_>) -> impl Iterator<Item = &'a str> {
    let details = answer.each("/error/details").iter();
    details
        .filter_map(|detail| detail["violations"].as_array())
        .flatten()
        .filter_map(|violation| violation["quotaId"].as_str())
}
