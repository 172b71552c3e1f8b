//! Google: Gemini (AI Studio) and Vertex AI, with
//! `{"error":{"code","message","status","details":[..]}}`.

use crate::policy::credentials::{Carrier, Places};
use crate::policy::dialect::{Dialect, Finding, Reach};
use crate::policy::error_response::ErrorResponse;
use crate::policy::{exhausted_response, request_size, scope_in_path, waits};

pub(super) const VERTEX: Dialect = Dialect {
    name: "vertex",
    places: Places {
        carrier: Carrier::Bearer,
        accepts: &["x-goog-api-key"],
        ..GEMINI.places
    },
    scope_in_path: scope_in_path::vertex,
    bills_with_402: false,
    finding,
    ..GEMINI
};

pub(super) const GEMINI: Dialect = Dialect {
    name: "gemini",
    places: Places {
        carrier: Carrier::Header("x-goog-api-key"),
        accepts: &["authorization"],
        accepts_in_query: &["key", "$key", "access_token", "oauth_token"],
        removes: &["x-goog-user-project"],
        removes_in_query: &["userProject", "$userProject"],
        ..Places::BEARER
    },
    scope_in_path: scope_in_path::gemini,
    inspects: &[400, 401, 403, 429],
    bills_with_402: true,
    finding: gemini_finding,
    exhausted: exhausted_response::google,
    ..Dialect::BEARER
};

pub(in crate::policy) fn finding(response: &ErrorResponse<'_>) -> Option<Finding> {
    match response.status().as_u16() {
        400 => bad_request(response),
        401 => unauthorized(response),
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

/// The request has no credential in the place that this API reads. Then the key is not to blame.
fn unauthorized(response: &ErrorResponse<'_>) -> Option<Finding> {
    reasons(response)
        .any(|reason| reason == "CREDENTIALS_MISSING")
        .then_some(Finding::Here)
}

/// Gemini, where the project is that of the key.
fn gemini_finding(response: &ErrorResponse<'_>) -> Option<Finding> {
    for reason in reasons(response) {
        match (response.status().as_u16(), reason) {
            // An API key that is taken for an access token, which is not the key's fault. Vertex AI
            // takes access tokens, so there it means a wrong credential.
            (401, "ACCESS_TOKEN_TYPE_UNSUPPORTED") => return Some(Finding::Here),
            (403, "BILLING_DISABLED") => return Some(Finding::Quota(Reach::Account, None)),
            // The project of the key has no access to the whole API.
            (403, "SERVICE_DISABLED" | "CONSUMER_INVALID") => return Some(Finding::Dead),
            _ => {}
        }
    }
    finding(response)
}

fn forbidden(response: &ErrorResponse<'_>) -> Option<Finding> {
    for reason in reasons(response) {
        match reason {
            // The caller's own headers decide.
            "API_KEY_HTTP_REFERRER_BLOCKED"
            | "API_KEY_ANDROID_APP_BLOCKED"
            | "API_KEY_IOS_APP_BLOCKED" => return Some(Finding::Here),
            // About the project, which the request may have chosen.
            "BILLING_DISABLED" | "SERVICE_DISABLED" | "CONSUMER_INVALID" => return None,
            _ if reason.starts_with("API_KEY_") => return Some(Finding::Dead),
            _ if reason.starts_with("CONSUMER_") => return Some(Finding::Dead),
            _ => {}
        }
    }
    // These come without details.
    const DEAD: [&str; 4] = [
        "reported as leaked",
        "project has been denied access",
        "disabled in this account",
        "violation of terms of service",
    ];
    if response.says(&DEAD) {
        return Some(Finding::Dead);
    }
    // One model or resource. The newer API has a textual code instead of a status.
    let denied = response.text("/error/status") == "PERMISSION_DENIED"
        || response.text("/error/code") == "permission_denied";
    denied.then_some(Finding::Here)
}

fn too_many(response: &ErrorResponse<'_>) -> Option<Finding> {
    let has_no_tier = || response.says(&["doesn't have a free quota tier"]);
    if request_size::has_limit_of_zero(response) || has_no_tier() {
        return Some(Finding::NoAccess);
    }
    let reach = reach(response);
    if violations(response).any(|quota| quota.contains("PerDay")) {
        let reset = waits::midnight_pacific(response.now());
        return Some(Finding::Quota(reach, reset));
    }
    // "You exceeded your current quota, please check your plan and billing details" also occurs
    // in a limit per minute, and proves nothing. These words occur in one case only.
    if response.says(&["prepayment credits are depleted"]) {
        return Some(Finding::Quota(Reach::Account, None));
    }
    let detailed = !response.each("/error/details").is_empty();
    if !detailed && response.says(&["resource exhausted. please try again later"]) {
        return Some(Finding::NotTheKey);
    }
    Some(Finding::RateLimited(reach, None))
}

/// Most limits are those of a model. Others are those of the project.
fn reach(response: &ErrorResponse<'_>) -> Reach {
    let mut quotas = violations(response).peekable();
    let is_of_project = if quotas.peek().is_some() {
        quotas.any(|quota| !quota.contains("Model"))
    } else {
        response.says(&["quota exceeded for"]) && !response.says(&["model"])
    };
    if is_of_project {
        Reach::Account
    } else {
        Reach::Scope
    }
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
