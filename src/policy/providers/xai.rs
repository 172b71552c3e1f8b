//! xAI: `{"code":"<sentence>","error":"<string>"}`.

use super::answer::Answer;
use super::dialect::{Dialect, Finding};
use super::openai;
use super::provider::policy;

policy! {
    /// xAI: `authorization: Bearer <key>`.
    ///
    /// A bad key is a 400, and used-up credit a 429 or a 403. The code is a sentence that several
    /// cases share, so that the message has to tell.
    Xai,
    Dialect {
        name: "xai",
        inspects: &[400, 403, 429],
        finding,
        ..openai::DIALECT
    }
}

fn finding(answer: &Answer<'_>) -> Option<Finding> {
    let begins = |start| answer.message().starts_with(start);
    match answer.status().as_u16() {
        400 if begins("Incorrect API key") => Some(Finding::Dead),
        403 if begins("Content violates") => Some(Finding::NotTheKey),
        403 | 429 if answer.says(&["credits", "spending limit"]) => Some(Finding::Quota(None)),
        403 if answer.says(&["blocked", "disabled"]) => Some(Finding::Dead),
        // One model or endpoint that the key may not use.
        403 if answer.says(&["permission", "model", "endpoint"]) => Some(Finding::Here),
        _ => None,
    }
}
