//! Cohere: `{"message"}`.

use super::openai;
use crate::policy::dialect::{Dialect, Finding, Reach};
use crate::policy::error_response::ErrorResponse;
use crate::policy::{exhausted_response, model_access};

pub(super) const DIALECT: Dialect = Dialect {
    name: "cohere",
    inspects: &[403, 429],
    bills_with_402: true,
    finding,
    exhausted: exhausted_response::cohere,
    ..openai::DIALECT
};

fn finding(response: &ErrorResponse<'_>) -> Option<Finding> {
    // There is only a message.
    match response.status().as_u16() {
        403 => model_access::finding(response),
        429 if response.says(&["/ month", "per month"]) => {
            Some(Finding::Quota(Reach::Account, None))
        }
        _ => None,
    }
}
