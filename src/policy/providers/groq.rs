//! Groq: OpenAI's shape.

use super::openai;
use crate::policy::dialect::{Dialect, Finding};
use crate::policy::error_response::ErrorResponse;
use crate::policy::model_access;

pub(super) const DIALECT: Dialect = Dialect {
    name: "groq",
    inspects: &[400, 401, 403, 429],
    finding,
    ..openai::DIALECT
};

fn finding(response: &ErrorResponse<'_>) -> Option<Finding> {
    match (response.status().as_u16(), response.text("/error/code")) {
        (400 | 403, "organization_restricted") => Some(Finding::Dead),
        (403, _) if response.text("/error/type") == "permissions_error" => {
            model_access::finding(response).or(Some(Finding::Here))
        }
        // The caller's network.
        (403, _) if response.says(&["check your network settings"]) => Some(Finding::NotTheKey),
        (400, _) => None,
        _ => openai::finding(response),
    }
}
