//! Amazon Bedrock: `{"message"}`, with the error's type in a header or in the body.

use crate::policy::credentials::Places;
use crate::policy::dialect::{Dialect, Finding, Reach};
use crate::policy::error_response::ErrorResponse;
use crate::policy::{exhausted_response, model_access, scope_in_path};

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
    scope_in_path: scope_in_path::bedrock,
    finding,
    exhausted: exhausted_response::bedrock,
    ..Dialect::BEARER
};

/// Messages about the key itself, in lower case. A signature that has expired is not among them.
const DEAD: [&str; 7] = [
    "authentication failed",
    "api key is valid",
    "bearer token included in the request is invalid",
    "security token included in the request is invalid",
    "bearer token has expired",
    "bearer token is expired",
    "api key has expired",
];

fn finding(response: &ErrorResponse<'_>) -> Option<Finding> {
    // A bad API key, or one of another region, comes with `AccessDenied` or without a type.
    if response.status() == 403 && response.says(&DEAD) {
        return Some(Finding::Dead);
    }
    match error_type(response) {
        "UnrecognizedClient" | "InvalidClientTokenId" | "ExpiredToken" => Some(Finding::Dead),
        "" if response.status() == 403 => model_access(response),
        "AccessDenied" | "NotAuthorized" => model_access(response).or(Some(Finding::Here)),
        // The account's agreement with the model's vendor is not complete yet.
        kind if kind.starts_with("MPAgreement") => Some(Finding::Here),
        // The request's clock or form is wrong.
        "InvalidSignature" | "IncompleteSignature" | "RequestExpired" => Some(Finding::NotTheKey),
        "ServiceQuotaExceeded" => Some(Finding::Quota(Reach::Account, None)),
        "ModelNotReady" | "ServiceUnavailable" => Some(Finding::NotTheKey),
        // A daily quota and a short throttle have the same type.
        _ if response.status() == 429 && response.says(&["per day"]) => {
            Some(Finding::Quota(Reach::Scope, None))
        }
        _ => None,
    }
}

/// The refusal of one model. A missing permission to stream concerns one use of it.
fn model_access(response: &ErrorResponse<'_>) -> Option<Finding> {
    if response.says(&["bedrock:invokemodel on resource"]) {
        return Some(Finding::NoAccess);
    }
    if response.says(&["to perform: "]) {
        return Some(Finding::Here);
    }
    model_access::finding(response)
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
