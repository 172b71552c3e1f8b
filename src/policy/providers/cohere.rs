//! Cohere: `{"message"}`.

use super::openai;
use crate::policy::dialect::{Dialect, Finding};
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
        403 if model_access::is_refused(response) => Some(Finding::Here),
        429 if response.says(&["/ month", "per month"]) => Some(Finding::Quota(None)),
        _ => None,
    }
}
