//! Mistral: `{"object":"error","message","type","param","code"}`, or `{"detail"}`.

use super::openai;
use crate::policy::dialect::{Dialect, Finding, Reach};
use crate::policy::error_response::ErrorResponse;
use crate::policy::{exhausted_response, model_access};

pub(super) const DIALECT: Dialect = Dialect {
    name: "mistral",
    inspects: &[403, 429],
    bills_with_402: true,
    finding,
    exhausted: exhausted_response::mistral,
    ..openai::DIALECT
};

fn finding(response: &ErrorResponse<'_>) -> Option<Finding> {
    let kind = response.text("/type");
    match response.status().as_u16() {
        403 if response.says(&["inactive subscription", "usage limit"]) => {
            Some(Finding::Quota(Reach::Account, None))
        }
        // A model that is not in the workspace's tier.
        403 => model_access::finding(response)
            .or((kind == "invalid_request_error").then_some(Finding::Here)),
        429 if kind.ends_with("capacity_exceeded") || response.says(&["capacity exceeded"]) => {
            Some(Finding::NotTheKey)
        }
        // The limits are those of the organization.
        429 => Some(Finding::RateLimited(Reach::Account, None)),
        _ => None,
    }
}
