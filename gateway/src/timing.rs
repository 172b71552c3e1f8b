//! The `server-timing` header, which shows the attempts of a request to its client:
//! `attempt-1;desc="sk-a...efgh 429";dur=12.0`.

use std::fmt::Write;

use axum::http::header::{HeaderMap, HeaderName, HeaderValue};
use tower_key_failover::FailoverInfo;

/// Appends the header. A header from the upstream stays.
pub fn append(info: &FailoverInfo, headers: &mut HeaderMap) {
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

/// The character, or `?` if a quoted string cannot contain it.
fn quotable(character: char) -> char {
    match character {
        '"' | '\\' => '?',
        ' '..='~' => character,
        _ => '?',
    }
}
