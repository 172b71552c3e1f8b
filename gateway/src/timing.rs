//! A request's attempts, told to its client in a `server-timing` header, which browsers and SDKs show:
//! `attempt-1;desc="sk-a...efgh 429";dur=12.0`.

use std::fmt::Write;

use axum::http::header::{HeaderMap, HeaderName, HeaderValue};
use tower_key_failover::FailoverInfo;

/// Adds to what the upstream said.
pub fn tell(info: &FailoverInfo, headers: &mut HeaderMap) {
    let mut entries: Vec<String> = Vec::new();
    for (number, attempt) in (1..).zip(info.history()) {
        let hint: String = attempt.hint().chars().map(quotable).collect();
        let status = attempt.status().as_u16();
        let mut entry = format!("attempt-{number};desc=\"{hint} {status}\"");
        if let Some(took) = attempt.elapsed() {
            let _ = write!(entry, ";dur={:.1}", took.as_secs_f64() * 1000.0);
        }
        entries.push(entry);
    }
    if !info.waited().is_zero() {
        let waited = info.waited().as_secs_f64() * 1000.0;
        entries.push(format!("waited;dur={waited:.1}"));
    }
    match HeaderValue::try_from(entries.join(", ")) {
        Ok(value) if !entries.is_empty() => {
            headers.append(HeaderName::from_static("server-timing"), value);
        }
        _ => {}
    }
}

/// What may stand between quotes without being escaped.
fn quotable(character: char) -> char {
    match character {
        '"' | '\\' => '?',
        ' '..='~' => character,
        _ => '?',
    }
}
