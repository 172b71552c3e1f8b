//! Perplexity: OpenAI's shape.

use http::StatusCode;

use super::openai;
use crate::policy::dialect::{Dialect, Finding, Reach};
use crate::policy::error_response::ErrorResponse;

pub(super) const DIALECT: Dialect = Dialect {
    name: "perplexity",
    finding,
    ..openai::DIALECT
};

fn finding(response: &ErrorResponse<'_>) -> Option<Finding> {
    // The limits are those of the account.
    let is_limit = response.status() == StatusCode::TOO_MANY_REQUESTS;
    openai::finding(response).or(is_limit.then_some(Finding::RateLimited(Reach::Account, None)))
}
