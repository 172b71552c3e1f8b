//! Together: OpenAI's shape.

use super::answer::Answer;
use super::dialect::{Dialect, Finding};
use super::openai;
use super::provider::policy;

policy! {
    /// Together: `authorization: Bearer <key>`.
    ///
    /// A 403 is a request that is too long for the model.
    Together,
    Dialect {
        name: "together",
        bills_with_402: true,
        finding,
        ..openai::DIALECT
    }
}

fn finding(answer: &Answer<'_>) -> Option<Finding> {
    let too_long = answer.status() == 403
        && (answer.text("/error/type") == "invalid_request_error"
            || answer.says(&["context length"]));
    if too_long {
        return Some(Finding::NotTheKey);
    }
    openai::finding(answer)
}
