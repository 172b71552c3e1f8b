//! Groq: OpenAI's shape.

use super::answer::Answer;
use super::dialect::{Dialect, Finding};
use super::openai;
use super::provider::policy;

policy! {
    /// Groq: `authorization: Bearer <key>`.
    ///
    /// A 413 with the code of a rate limit can never succeed, and is forwarded.
    Groq,
    Dialect {
        name: "groq",
        inspects: &[400, 401, 403, 429],
        finding,
        ..openai::DIALECT
    }
}

fn finding(answer: &Answer<'_>) -> Option<Finding> {
    match (answer.status().as_u16(), answer.text("/error/code")) {
        (400 | 403, "organization_restricted") => Some(Finding::Dead),
        (403, code) if code.starts_with("model_permission_blocked") => Some(Finding::Here),
        (403, _) if answer.text("/error/type") == "permissions_error" => Some(Finding::Here),
        // The caller's network.
        (403, _) if answer.says(&["check your network settings"]) => Some(Finding::NotTheKey),
        (400, _) => None,
        _ => openai::finding(answer),
    }
}
