//! Cohere: `{"message"}`.

use super::openai;
use crate::policy::dialect::{Dialect, Finding};
use crate::policy::error_response::ErrorResponse;
use crate::policy::exhausted_response;

pub(super) const DIALECT: Dialect = Dialect {
    name: "cohere",
    inspects: &[403, 429],
    bills_with_402: true,
    finding,
    exhausted: exhausted_response::cohere,
    ..openai::DIALECT
};

fn finding(response: &ErrorResponse<'_>) -> Option<Finding> {
    // A message is all there is.
    let monthly = response.status() == 429 && response.says(&["/ month", "per month"]);
    monthly.then_some(Finding::Quota(None))
}
