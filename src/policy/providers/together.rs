//! Together: OpenAI's shape.

use super::openai;
use crate::policy::dialect::{Dialect, Finding};
use crate::policy::error_response::ErrorResponse;

pub(super) const DIALECT: Dialect = Dialect {
    name: "together",
    bills_with_402: true,
    finding,
    ..openai::DIALECT
};

fn finding(response: &ErrorResponse<'_>) -> Option<Finding> {
    let too_long = response.status() == 403
        && (response.text("/error/type") == "invalid_request_error"
            || response.says(&["context length"]));
    if too_long {
        return Some(Finding::NotTheKey);
    }
    openai::finding(response)
}
