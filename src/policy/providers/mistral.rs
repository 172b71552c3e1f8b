//! Mistral: `{"object":"error","message","type","param","code"}`, or `{"detail"}`.

use super::answer::Answer;
use super::dialect::{Dialect, Finding};
use super::provider::policy;
use super::{exhausted, openai};

policy! {
    /// Mistral: `authorization: Bearer <key>`.
    ///
    /// A revoked key and an exhausted plan get the same 401, byte for byte: where that happens,
    /// [`on_unauthorized`](Self::on_unauthorized) can make it a cooldown.
    Mistral,
    Dialect {
        name: "mistral",
        inspects: &[403, 429],
        bills_with_402: true,
        finding,
        exhausted: exhausted::mistral,
        ..openai::DIALECT
    }
}

fn finding(answer: &Answer<'_>) -> Option<Finding> {
    let kind = answer.text("/type");
    match answer.status().as_u16() {
        403 if answer.says(&["inactive subscription", "usage limit"]) => Some(Finding::Quota(None)),
        // A model that is not in the workspace's tier.
        403 if kind == "invalid_request_error" => Some(Finding::Here),
        429 if kind.ends_with("capacity_exceeded") || answer.says(&["capacity exceeded"]) => {
            Some(Finding::NotTheKey)
        }
        _ => None,
    }
}
