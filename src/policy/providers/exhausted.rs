//! What a caller is told when no key is left, in shapes that each provider's SDK takes for its own
//! rate limit.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use crate::pool::{Exhausted, ExhaustedKind};

/// Official SDKs sleep for as long as they are told. Beyond this they are told to give up.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Timers of JavaScript clients run out at once when set for longer than 31 bits of milliseconds.
const LONGEST_TIMER: Duration = Duration::from_secs(i32::MAX as u64 / 1000);

/// What the answer is to say.
pub(super) struct Refusal {
    /// 429 where waiting helps, else 502.
    pub(super) status: StatusCode,
    pub(super) message: String,
    /// Never zero.
    pub(super) wait: Option<Duration>,
}

impl Refusal {
    pub(super) fn is_rate_limit(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
    }
}

pub(super) fn response(
    exhausted: &Exhausted,
    shape: fn(&Refusal, &mut HeaderMap) -> Value,
) -> Response<Bytes> {
    let wait = exhausted.retry_after.filter(|wait| !wait.is_zero());
    let message = exhausted.to_string();
    let refusal = match exhausted.kind {
        ExhaustedKind::RateLimited => Refusal {
            status: StatusCode::TOO_MANY_REQUESTS,
            message,
            wait,
        },
        ExhaustedKind::Permanent => Refusal {
            status: StatusCode::BAD_GATEWAY,
            message,
            wait: None,
        },
    };
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = refusal.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(wait) = refusal.wait {
        let millis = millis(wait.min(LONGEST_TIMER));
        headers.insert(RETRY_AFTER, millis.div_ceil(1000).into());
        headers.insert("retry-after-ms", millis.into());
    }
    if refusal
        .wait
        .map_or(!refusal.is_rate_limit(), |wait| wait > LONGEST_SLEEP)
    {
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    let body = shape(&refusal, headers);
    *response.body_mut() = body.to_string().into();
    response
}

/// Whole milliseconds, rounded up: a client never comes back too early.
pub(super) fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

pub(super) fn openai(refusal: &Refusal, _: &mut HeaderMap) -> Value {
    json!({ "error": openai_error(refusal) })
}

fn openai_error(refusal: &Refusal) -> Value {
    let (kind, code) = if refusal.is_rate_limit() {
        ("rate_limit_error", "rate_limit_exceeded")
    } else {
        ("api_error", "server_error")
    };
    json!({ "message": refusal.message, "type": kind, "param": null, "code": code })
}

pub(super) fn anthropic(refusal: &Refusal, _: &mut HeaderMap) -> Value {
    let kind = if refusal.is_rate_limit() {
        "rate_limit_error"
    } else {
        "api_error"
    };
    json!({ "type": "error", "error": { "type": kind, "message": refusal.message } })
}

pub(super) fn google(refusal: &Refusal, _: &mut HeaderMap) -> Value {
    let status = if refusal.is_rate_limit() {
        "RESOURCE_EXHAUSTED"
    } else {
        "UNAVAILABLE"
    };
    let mut error = json!({
        "code": refusal.status.as_u16(),
        "message": refusal.message,
        "status": status,
    });
    if let Some(wait) = refusal.wait {
        let millis = millis(wait);
        let delay = match millis % 1000 {
            0 => format!("{}s", millis / 1000),
            part => format!("{}.{part:03}s", millis / 1000),
        };
        error["details"] = json!([{
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": delay,
        }]);
    }
    json!({ "error": error })
}

/// botocore reads the error's type from a header.
pub(super) fn bedrock(refusal: &Refusal, headers: &mut HeaderMap) -> Value {
    let kind = if refusal.is_rate_limit() {
        "ThrottlingException"
    } else {
        "ServiceUnavailableException"
    };
    headers.insert("x-amzn-errortype", HeaderValue::from_static(kind));
    json!({ "message": refusal.message })
}

pub(super) fn cohere(refusal: &Refusal, _: &mut HeaderMap) -> Value {
    json!({ "message": refusal.message })
}

/// Mistral's own flat shape, and beside it OpenAI's `error`, without which that SDK shows no
/// message: Mistral is called with both.
pub(super) fn mistral(refusal: &Refusal, _: &mut HeaderMap) -> Value {
    let (kind, code) = if refusal.is_rate_limit() {
        ("rate_limited", "1300")
    } else {
        ("api_error", "server_error")
    };
    json!({
        "object": "error",
        "message": refusal.message,
        "type": kind,
        "param": null,
        "code": code,
        "raw_status_code": refusal.status.as_u16(),
        "error": openai_error(refusal),
    })
}
