//! A 403 for a model keeps the key: the key works, but not with this model.

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

/// Whether the response refuses one model, which other keys may use.
pub(super) fn is_refused(response: &ErrorResponse<'_>) -> bool {
    let code = response.text("/error/code");
    code == "model_not_found"
        || code.starts_with("model_permission")
        || response.says(&["model"]) && response.says(&REFUSALS)
        // OpenAI, about what only verified organizations may use.
        || response.says(&["organization must be verified"])
}
