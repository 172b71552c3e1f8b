//! A 403 for a model: the key works, but not with this model.

use super::dialect::Finding;
use super::error_response::ErrorResponse;

/// Phrases for missing access, in lower case. They count only in a message about a model.
const REFUSALS: [&str; 11] = [
    "access to",
    "no access",
    "must be verified",
    "not allowed",
    "not authorized",
    "not available",
    "not enabled",
    "not have permission",
    "is blocked",
    "subscription",
    "tier",
];

/// Phrases about one use of a model that the key may use otherwise, in lower case.
const USES: [&str; 3] = ["to stream", "reasoning summar", "to generate"];

/// What a response says that refuses one model, which other keys may use.
pub(super) fn finding(response: &ErrorResponse<'_>) -> Option<Finding> {
    let code = response.text("/error/code");
    let is_model = code == "model_not_found"
        || code.starts_with("model_permission")
        || response.says(&["model"]) && response.says(&REFUSALS);
    if is_model && !response.says(&USES) {
        return Some(Finding::NoAccess);
    }
    // OpenAI, about what only verified organizations may use.
    let is_use = is_model || response.says(&["organization must be verified"]);
    is_use.then_some(Finding::Here)
}
