//! How long a response asks to wait. The first usable hint wins:
//!
//! 1. `retry-after-ms`
//! 2. `retry-after`: seconds, with a fraction or without, or an HTTP date
//! 3. `x-amz-retry-after`: milliseconds
//! 4. a reset in the provider's own fields, including Google's `RetryInfo`
//! 5. a wait in the error's message
//! 6. the reset header of a bucket whose remaining is 0
//!
//! A value that is zero, negative, not a number, or larger than a [`Duration`] is ignored. Waits
//! are not clamped here; the pool does that.

mod calendar;
mod duration;
pub(super) mod http_date;
mod message;

use std::time::Duration;

use http::{HeaderMap, HeaderValue, response};
use jiff::Timestamp;
use serde_json::Value;

pub(super) use self::calendar::{midnight_pacific, next_month};
use super::error_response::ErrorResponse;

/// The wait that the headers of a response ask for, for policies of other providers.
///
/// The first usable one counts:
///
/// 1. `retry-after-ms`
/// 2. `retry-after`, in seconds or as an HTTP date
/// 3. `x-amz-retry-after`, in milliseconds
/// 4. the latest reset of a limit of which nothing remains, in `x-ratelimit-reset-*` or
///    `anthropic-ratelimit-*-reset`
///
/// Values that are zero, negative or unreadable are ignored. Dates are compared with the `date`
/// header of the response, or with the local clock if there is none.
///
/// ```
/// use std::time::Duration;
/// use http::Response;
/// use tower_key_failover::policy::wait_from_headers;
///
/// let (head, ()) = Response::builder()
///     .header("date", "Fri, 20 Nov 2026 20:00:00 GMT")
///     .header("retry-after", "Fri, 20 Nov 2026 20:00:30 GMT")
///     .body(())
///     .unwrap()
///     .into_parts();
/// assert_eq!(wait_from_headers(&head), Some(Duration::from_secs(30)));
/// ```
#[cfg_attr(docsrs, doc(cfg(feature = "providers")))]
pub fn wait_from_headers(response: &response::Parts) -> Option<Duration> {
    rate_limit(&ErrorResponse::of_head(response), None)
}

/// How long a rate limit lasts, if the response says so. `reset` comes from the provider's own
/// fields.
pub(super) fn rate_limit(
    response: &ErrorResponse<'_>,
    reset: Option<Duration>,
) -> Option<Duration> {
    quota(response, reset).or_else(|| exhausted_bucket(response))
}

/// How long an exhausted quota lasts, if the response says so. The reset of a bucket is ignored,
/// because it concerns requests and tokens per minute, not credit.
pub(super) fn quota(response: &ErrorResponse<'_>, reset: Option<Duration>) -> Option<Duration> {
    retry_after(response)
        .or(reset)
        .or_else(|| google_retry_info(response))
        .or_else(|| message::wait(response.message(), || response.now()))
}

/// A moment given as RFC 3339, as an HTTP date, or as seconds or milliseconds since the epoch.
pub(super) fn until_moment(response: &ErrorResponse<'_>, moment: &Value) -> Option<Duration> {
    let moment = match moment {
        Value::String(text) => calendar::moment(text)?,
        number => calendar::epoch(number.as_f64()?)?,
    };
    calendar::until(response.now(), moment)
}

fn retry_after(response: &ErrorResponse<'_>) -> Option<Duration> {
    let millis = |name| positive(number(response.header(name))? / 1e3);
    let seconds_or_date = |name| {
        let value = response.header(name);
        match number(value) {
            Some(seconds) => positive(seconds),
            None => calendar::until(response.now(), http_date::parse(value)?),
        }
    };
    millis("retry-after-ms")
        .or_else(|| seconds_or_date("retry-after"))
        .or_else(|| millis("x-amz-retry-after"))
}

fn google_retry_info(response: &ErrorResponse<'_>) -> Option<Duration> {
    response
        .each("/error/details")
        .iter()
        .filter(|detail| {
            let kind = detail["@type"].as_str().unwrap_or("");
            kind.ends_with("google.rpc.RetryInfo")
        })
        .find_map(|detail| duration::go(detail["retryDelay"].as_str()?))
}

/// The latest reset of all empty buckets, because until then one of them refuses. The resets of
/// other buckets only say when they are full again.
fn exhausted_bucket(response: &ErrorResponse<'_>) -> Option<Duration> {
    let headers = response.headers();
    let now = response.now();
    headers
        .iter()
        .filter_map(|(name, value)| reset_of_empty(name.as_str(), value))
        .filter_map(|reset| until_reset(headers, &reset, now))
        .max()
}

/// The name of the reset header of a bucket, if this header says that the bucket is empty.
fn reset_of_empty(name: &str, value: &HeaderValue) -> Option<String> {
    let value = value.to_str().ok()?;
    let is_zero = || number(value) == Some(0.0);
    if let Some(bucket) = name.strip_prefix("x-ratelimit-remaining") {
        return is_zero().then(|| format!("x-ratelimit-reset{bucket}"));
    }
    let bucket = name.strip_prefix("anthropic-ratelimit-")?;
    let bucket = match bucket.strip_suffix("-remaining") {
        Some(bucket) => is_zero().then_some(bucket),
        // Subscriptions send a status instead of a count.
        None => bucket
            .strip_suffix("-status")
            .filter(|_| value.trim() == "rejected"),
    }?;
    Some(format!("anthropic-ratelimit-{bucket}-reset"))
}

fn until_reset(headers: &HeaderMap, name: &str, now: Timestamp) -> Option<Duration> {
    let value = headers.get(name)?.to_str().ok()?.trim();
    if let Some(wait) = duration::go(value) {
        return Some(wait);
    }
    if let Some(moment) = calendar::moment(value) {
        return calendar::until(now, moment);
    }
    // A small number is seconds (Azure), except in the header without a bucket, where providers
    // disagree.
    let seconds = number(value).filter(|_| name != "x-ratelimit-reset")?;
    positive(seconds)
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok()
}

/// Seconds as a wait, unless they are zero, negative, not a number, or too many.
fn positive(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|wait| !wait.is_zero())
}
