//! The response when no key is left, in shapes that each provider's SDK recognizes as a rate limit.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use crate::pool::{Exhausted, ExhaustedKind};

/// Official SDKs sleep for as long as `retry-after` says. Above this they are asked to give up.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Timers of JavaScript clients expire at once if set for more than 31 bits of milliseconds.
const LONGEST_TIMER: Duration = Duration::from_secs(i32::MAX as u64 / 1000);

/// The content of the response, independent of its shape.
pub(super) struct Exhaustion {
    /// 429 if waiting helps, otherwise 502.
    pub(super) status: StatusCode,
    pub(super) message: String,
    /// Never zero.
    pub(super) wait: Option<Duration>,
}

impl Exhaustion {
    fn new(exhausted: &Exhausted) -> Self {
        let message = exhausted.to_string();
        match exhausted.kind {
            ExhaustedKind::RateLimited => Self {
                status: StatusCode::TOO_MANY_REQUESTS,
                message,
                wait: exhausted.retry_after.filter(|wait| !wait.is_zero()),
            },
            ExhaustedKind::Permanent | ExhaustedKind::Disabled | ExhaustedKind::UnknownPin => {
                Self {
                    status: StatusCode::BAD_GATEWAY,
                    message,
                    wait: None,
                }
            }
        }
    }

    pub(super) fn is_rate_limit(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
    }
}

/// Builds the response for a request that has no key left, for
/// [`ProviderPolicy::exhausted_response`](super::ProviderPolicy::exhausted_response).
///
/// The status is 429 if a key will return, and 502 otherwise. `retry-after` and `retry-after-ms` are
/// the wait for the first key, if it is known, rounded up. `x-should-retry: false` asks official SDKs
/// to give up if the wait is over a minute or no key will return. `body` gets the status and a
/// message for people, and returns the body, which is JSON unless the caller changes
/// `content-type`.
///
/// ```
/// use std::time::Duration;
/// use tower_key_failover::policy::exhausted_response;
/// use tower_key_failover::{Exhausted, ExhaustedKind};
///
/// let exhausted = Exhausted {
///     kind: ExhaustedKind::RateLimited,
///     retry_after: Some(Duration::from_millis(2500)),
/// };
/// let response = exhausted_response(&exhausted, |status, message| {
///     format!(r#"{{"code":{},"reason":"{message}"}}"#, status.as_u16())
/// });
///
/// assert_eq!(response.status(), 429);
/// assert_eq!(response.headers()["retry-after"], "3");
/// assert!(response.body().starts_with(br#"{"code":429,"#));
/// ```
#[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
pub fn exhausted_response<B: Into<Bytes>>(
    exhausted: &Exhausted,
    body: impl FnOnce(StatusCode, &str) -> B,
) -> Response<Bytes> {
    let exhaustion = Exhaustion::new(exhausted);
    let mut response = head(&exhaustion);
    *response.body_mut() = body(exhaustion.status, &exhaustion.message).into();
    response
}

/// The response of a built-in policy.
pub(super) fn response(
    exhausted: &Exhausted,
    shape: fn(&Exhaustion, &mut HeaderMap) -> Value,
) -> Response<Bytes> {
    let exhaustion = Exhaustion::new(exhausted);
    let mut response = head(&exhaustion);
    let body = shape(&exhaustion, response.headers_mut());
    *response.body_mut() = body.to_string().into();
    response
}

fn head(exhaustion: &Exhaustion) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = exhaustion.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(wait) = exhaustion.wait {
        let millis = millis(wait.min(LONGEST_TIMER));
        headers.insert(RETRY_AFTER, millis.div_ceil(1000).into());
        headers.insert("retry-after-ms", millis.into());
    }
    if exhaustion
        .wait
        .map_or(!exhaustion.is_rate_limit(), |wait| wait > LONGEST_SLEEP)
    {
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    response
}

/// Whole milliseconds, rounded up, so that a client never returns too early.
pub(super) fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

pub(super) fn openai(exhaustion: &Exhaustion, _: &mut HeaderMap) -> Value {
    json!({ "error": openai_error(exhaustion) })
}

fn openai_error(exhaustion: &Exhaustion) -> Value {
    let (kind, code) = if exhaustion.is_rate_limit() {
        ("rate_limit_error", "rate_limit_exceeded")
    } else {
        ("api_error", "server_error")
    };
    json!({ "message": exhaustion.message, "type": kind, "param": null, "code": code })
}

pub(super) fn anthropic(exhaustion: &Exhaustion, _: &mut HeaderMap) -> Value {
    let kind = if exhaustion.is_rate_limit() {
        "rate_limit_error"
    } else {
        "api_error"
    };
    json!({ "type": "error", "error": { "type": kind, "message": exhaustion.message } })
}

pub(super) fn google(exhaustion: &Exhaustion, _: &mut HeaderMap) -> Value {
    let status = if exhaustion.is_rate_limit() {
        "RESOURCE_EXHAUSTED"
    } else {
        "UNAVAILABLE"
    };
    let mut error = json!({
        "code": exhaustion.status.as_u16(),
        "message": exhaustion.message,
        "status": status,
    });
    if let Some(wait) = exhaustion.wait {
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
pub(super) fn bedrock(exhaustion: &Exhaustion, headers: &mut HeaderMap) -> Value {
    let kind = if exhaustion.is_rate_limit() {
        "ThrottlingException"
    } else {
        "ServiceUnavailableException"
    };
    headers.insert("x-amzn-errortype", HeaderValue::from_static(kind));
    json!({ "message": exhaustion.message })
}

pub(super) fn cohere(exhaustion: &Exhaustion, _: &mut HeaderMap) -> Value {
    json!({ "message": exhaustion.message })
}

/// Mistral's own flat shape plus OpenAI's `error`. Clients use either SDK, and OpenAI's shows no
/// message without `error`.
pub(super) fn mistral(exhaustion: &Exhaustion, _: &mut HeaderMap) -> Value {
    let (kind, code) = if exhaustion.is_rate_limit() {
        ("rate_limited", "1300")
    } else {
        ("api_error", "server_error")
    };
    json!({
        "object": "error",
        "message": exhaustion.message,
        "type": kind,
        "param": null,
        "code": code,
        "raw_status_code": exhaustion.status.as_u16(),
        "error": openai_error(exhaustion),
    })
}
