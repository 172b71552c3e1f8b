//! Amazon Bedrock: `{"message"}`, with the error's type in a header or in the body.

use super::answer::Answer;
use super::dialect::{Carrier, Dialect, Finding, Protocol};
use super::exhausted;
use super::provider::policy;

policy! {
    /// Amazon Bedrock with API keys: `authorization: Bearer <key>`.
    ///
    /// The type of the error decides, whatever its status: a quota is a 400, and a model that is
    /// not ready yet a 429. A caller's SigV4 signature counts as its own credential, and is
    /// removed where a key of the pool is used.
    Bedrock,
    Dialect {
        name: "bedrock",
        protocol: Protocol::Http,
        carrier: Carrier::Bearer,
        byok_only: false,
        accepts: &[],
        accepts_in_query: &[
            "X-Amz-Signature",
            "X-Amz-Algorithm",
            "X-Amz-Credential",
            "X-Amz-Date",
            "X-Amz-Expires",
            "X-Amz-Security-Token",
            "X-Amz-SignedHeaders",
        ],
        removes: &[
            "x-amz-date",
            "x-amz-security-token",
            "x-amz-content-sha256",
        ],
        removes_items: &[],
        inspects: &[400, 403, 429],
        bills_with_402: false,
        status_of_event: None,
        finding,
        exhausted: exhausted::bedrock,
    }
}

fn finding(answer: &Answer<'_>) -> Option<Finding> {
    match error_type(answer) {
        "UnrecognizedClient" | "InvalidClientTokenId" | "ExpiredToken" => Some(Finding::Dead),
        // Also what a bad API key gets, or a good one of another region.
        "AccessDenied" if answer.says(&["authentication failed", "api key is valid"]) => {
            Some(Finding::Dead)
        }
        "AccessDenied" | "NotAuthorized" => Some(Finding::Here),
        // The account's agreement with the model's vendor is under way.
        kind if kind.starts_with("MPAgreement") => Some(Finding::Here),
        // The request's clock or form.
        "InvalidSignature" | "IncompleteSignature" | "RequestExpired" => Some(Finding::NotTheKey),
        "ServiceQuotaExceeded" => Some(Finding::Quota(None)),
        "ModelNotReady" | "ServiceUnavailable" => Some(Finding::NotTheKey),
        // A day's quota and a second's throttle have one type.
        _ if answer.status() == 429 && answer.says(&["per day"]) => Some(Finding::Quota(None)),
        _ => None,
    }
}

/// `AccessDenied` of `com.amazon.coral#AccessDeniedException:http://...`.
fn error_type<'a>(answer: &'a Answer<'_>) -> &'a str {
    let in_header = answer.header("x-amzn-errortype");
    let kind = [in_header, answer.text("/code"), answer.text("/__type")]
        .into_iter()
        .find(|kind| !kind.is_empty())
        .unwrap_or("");
    let kind = kind.split(':').next().unwrap_or(kind);
    let kind = kind.rsplit('#').next().unwrap_or(kind);
    kind.strip_suffix("Exception").unwrap_or(kind)
}
