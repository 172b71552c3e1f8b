//! Cohere: `{"message"}`.

use super::answer::Answer;
use super::dialect::{Dialect, Finding};
use super::provider::policy;
use super::{exhausted, openai};

policy! {
    /// Cohere: `authorization: Bearer <key>`.
    ///
    /// A trial key's limit per month is an exhausted quota; 498 is about the content, and
    /// forwarded.
    Cohere,
    Dialect {
        name: "cohere",
        inspects: &[403, 429],
        bills_with_402: true,
        finding,
        exhausted: exhausted::cohere,
        ..openai::DIALECT
    }
}

fn finding(answer: &Answer<'_>) -> Option<Finding> {
    // A message is all there is.
    let monthly = answer.status() == 429 && answer.says(&["/ month", "per month"]);
    monthly.then_some(Finding::Quota(None))
}
