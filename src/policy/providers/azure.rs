//! Azure OpenAI: `{"error":{"code":"<string>","message"}}`.

use super::answer::Answer;
use super::dialect::{Carrier, Dialect, Finding};
use super::openai;
use super::provider::policy;

policy! {
    /// Azure OpenAI: `api-key: <key>`.
    ///
    /// Key and endpoint are one pair: a key of another resource is answered like a wrong one. A
    /// 401 for a missing role and a 403 of a network rule keep the key.
    AzureOpenAi,
    Dialect {
        name: "azure_openai",
        carrier: Carrier::Header("api-key"),
        accepts: &["authorization"],
        accepts_in_query: &["api-key", "subscription-key"],
        finding,
        ..openai::DIALECT
    }
}

fn finding(answer: &Answer<'_>) -> Option<Finding> {
    match (answer.status().as_u16(), answer.text("/error/code")) {
        (401 | 403, "PermissionDenied") => Some(Finding::Here),
        // The code of a 403 is mostly "403", whatever it is about.
        (403, _) if answer.says(&["temporarily blocked", "out of call volume quota"]) => {
            Some(Finding::Quota(None))
        }
        (403, "AccessDenied") => Some(Finding::Here),
        (403, _) if answer.says(&["virtual network", "firewall", "public access is disabled"]) => {
            Some(Finding::Here)
        }
        // Too little capacity for everyone.
        (429, _) if answer.says(&["high demand"]) => Some(Finding::NotTheKey),
        _ => openai::finding(answer),
    }
}
