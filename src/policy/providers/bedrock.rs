//! Amazon Bedrock: `{"message"}`, with the error's type in a header or in the body.

use crate::policy::credentials::Places;
use crate::policy::dialect::{Dialect, Finding};
use crate::policy::error_response::ErrorResponse;
use crate::policy::exhausted_response;

pub(super) const DIALECT: Dialect = Dialect {
    name: "bedrock",
    // SigV4: a presigned query, and the headers that belong to a signature.
    places: Places {
        accepts_in_query: &[
            "X-Amz-Signature",
            "X-Amz-Algorithm",
            "X-Amz-Credential",
            "X-Amz-Date",
            "X-Amz-Expires",
            "X-Amz-Security-Token",
            "X-Amz-SignedHeaders",
        ],
        removes: &["x-amz-date", "x-amz-security-token", "x-amz-content-sha256"],
        ..Places::BEARER
    },
    inspects: &[400, 403, 429],
    finding,
    exhausted: exhausted_response::bedrock,
    ..Dialect::BEARER
};

fn finding(response: &ErrorResponse<'_>) -> Option<Finding> {
    match error_type(response) {
        "UnrecognizedClient" | "InvalidClientTokenId" | "ExpiredToken" => Some(Finding::Dead),
        // Also what a bad API key gets, or a good one of another region.
        "AccessDenied" if response.says(&["authentication failed", "api key is valid"]) => {
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
        _ if response.status() == 429 && response.says(&["per day"]) => Some(Finding::Quota(None)),
        _ => None,
    }
}

/// `AccessDenied` of `com.amazon.coral#AccessDeniedException:http://...`.
fn error_type<'a>(response: &'a ErrorResponse<'_>) -> &'a str {
    let in_header = response.header("x-amzn-errortype");
    let kind = [in_header, response.text("/code"), response.text("/__type")]
        .into_iter()
        .find(|kind| !kind.is_empty())
        .unwrap_or("");
    let kind = kind.split(':').next().unwrap_or(kind);
    let kind = kind.rsplit('#').next().unwrap_or(kind);
    kind.strip_suffix("Exception").unwrap_or(kind)
}
