//! Where an answer says how long to wait. The first usable hint wins:
//!
//! 1. `retry-after-ms`
//! 2. `retry-after`: seconds, with a fraction or without, or an HTTP date
//! 3. `x-amz-retry-after`: milliseconds
//! 4. a reset that the provider's own fields name, Google's `RetryInfo` among them
//! 5. a wait named in the error's message
//! 6. the reset header of a bucket whose remaining is 0
//!
//! What is zero, negative, not a number, or more than a [`Duration`] holds is no hint. Waits are
//! reported as they are: the pool clamps.

mod calendar;
mod duration;
mod text;

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use serde_json::Value;

pub(super) use self::calendar::{http_date, midnight_pacific, next_month};
use super::answer::Answer;

/// How long a rate limit lasts, if the answer says so. `reset` is what the provider's own fields
/// name.
pub(super) fn rate_limit(answer: &Answer<'_>, reset: Option<Duration>) -> Option<Duration> {
    quota(answer, reset).or_else(|| exhausted_bucket(answer))
}

/// How long an exhausted quota lasts, if the answer says so. A bucket's reset does not: it is
/// about requests and tokens per minute, not about credit.
pub(super) fn quota(answer: &Answer<'_>, reset: Option<Duration>) -> Option<Duration> {
    retry_after(answer)
        .or(reset)
        .or_else(|| google_retry_info(answer))
        .or_else(|| text::wait(answer.message(), || answer.now()))
}

/// A moment given as RFC 3339, as an HTTP date, or as seconds or milliseconds since the epoch.
pub(super) fn until_moment(answer: &Answer<'_>, moment: &Value) -> Option<Duration> {
    let moment = match moment {
        Value::String(text) => calendar::moment(text)?,
        number => calendar::epoch(number.as_f64()?)?,
    };
    calendar::until(answer.now(), moment)
}

fn retry_after(answer: &Answer<'_>) -> Option<Duration> {
    let millis = |name| positive(number(answer.header(name))? / 1e3);
    let seconds_or_date = |name| {
        let value = answer.header(name);
        match number(value) {
            Some(seconds) => positive(seconds),
            None => calendar::until(answer.now(), http_date(value)?),
        }
    };
    millis("retry-after-ms")
        .or_else(|| seconds_or_date("retry-after"))
        .or_else(|| millis("x-amz-retry-after"))
}

fn google_retry_info(answer: &Answer<'_>) -> Option<Duration> {
    answer
        .each("/error/details")
        .iter()
        .filter(|detail| {
            let kind = detail["@type"].as_str().unwrap_or("");
            kind.ends_with("google.rpc.RetryInfo")
        })
        .find_map(|detail| duration::go(detail["retryDelay"].as_str()?))
}

/// The latest reset among the buckets that are empty: until then one of them refuses. The resets
/// of the others only say when they will be full.
fn exhausted_bucket(answer: &Answer<'_>) -> Option<Duration> {
    let headers = answer.headers();
    let now = answer.now();
    headers
        .iter()
        .filter_map(|(name, value)| reset_of_empty(name.as_str(), value))
        .filter_map(|reset| until_reset(headers, &reset, now))
        .max()
}

/// The header with the reset of the bucket that this header says is empty.
fn reset_of_empty(name: &str, value: &HeaderValue) -> Option<String> {
    let value = value.to_str().ok()?;
    let is_zero = || number(value) == Some(0.0);
    if let Some(bucket) = name.strip_prefix("x-ratelimit-remaining") {
        return is_zero().then(|| format!("x-ratelimit-reset{bucket}"));
    }
    let bucket = name.strip_prefix("anthropic-ratelimit-")?;
    let bucket = match bucket.strip_suffix("-remaining") {
        Some(bucket) => is_zero().then_some(bucket),
        // Subscriptions have a status where other limits have a count.
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
    // A small number is seconds (Azure), but for the bare header, where providers disagree.
    let seconds = number(value).filter(|_| name != "x-ratelimit-reset")?;
    positive(seconds)
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok()
}

/// Seconds as a wait, unless zero, negative, not a number, or too many.
fn positive(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|wait| !wait.is_zero())
}
