//! xAI: `{"code":"<sentence>","error":"<string>"}`.

use super::openai;
use crate::policy::dialect::{Dialect, Finding, Reach};
use crate::policy::error_response::ErrorResponse;

pub(super) const DIALECT: Dialect = Dialect {
    name: "xai",
    inspects: &[400, 403, 429],
    finding,
    ..openai::DIALECT
};

fn finding(response: &ErrorResponse<'_>) -> Option<Finding> {
    let begins = |start| response.message().starts_with(start);
    match response.status().as_u16() {
        400 if begins("Incorrect API key") => Some(Finding::Dead),
        403 if begins("Content violates") => Some(Finding::NotTheKey),
        // One model. The request chooses its name, so no other phrase counts.
        403 if response.says(&["model"]) => Some(Finding::NoAccess),
        403 | 429 if response.says(&["credits", "spending limit"]) => {
            Some(Finding::Quota(Reach::Account, None))
        }
        403 if response.says(&["blocked", "disabled"]) => Some(Finding::Dead),
        // One endpoint that the key may not use.
        403 if response.says(&["permission", "endpoint"]) => Some(Finding::Here),
        _ => None,
    }
}
