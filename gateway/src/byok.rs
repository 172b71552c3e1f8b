//! Counts the requests that bring their own key, and recognizes placeholders.
//!
//! SDKs refuse to start without a key, so people give them a placeholder. To the gateway, it is a key
//! of the client, for which there is no failover.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use axum::http::HeaderMap;
use tracing::warn;

const CARRIERS: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

const PLACEHOLDERS: [&str; 18] = [
    "dummy",
    "test",
    "none",
    "null",
    "undefined",
    "empty",
    "fake",
    "placeholder",
    "changeme",
    "change-me",
    "not-needed",
    "no-key",
    "unused",
    "anything",
    "key",
    "your-api-key",
    "your_api_key",
    "api-key",
];

#[derive(Default)]
pub struct ByokRequests {
    count: AtomicU64,
    has_warned: AtomicBool,
}

impl ByokRequests {
    /// Counts a request that brings its own key, and warns once if that is a placeholder.
    pub fn add(&self, headers: &HeaderMap) {
        self.count.fetch_add(1, Ordering::Relaxed);
        if !self.has_warned.load(Ordering::Relaxed)
            && has_placeholder(headers)
            && !self.has_warned.swap(true, Ordering::Relaxed)
        {
            warn!(
                target: "gateway",
                "a client sends a placeholder as its own key, so its requests use no key of the \
                 gateway: start the gateway with --byok never, or with a client token"
            );
        }
    }

    #[cfg(feature = "metrics")]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

fn has_placeholder(headers: &HeaderMap) -> bool {
    let values = CARRIERS.into_iter().flat_map(|name| headers.get_all(name));
    let mut values = values.filter_map(|value| value.to_str().ok());
    values.any(|value| is_placeholder(value.rsplit(' ').next().unwrap_or_default()))
}

fn is_placeholder(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let prefixes = ["sk-ant-", "sk-proj-", "sk-or-", "sk-"];
    let mut rests = prefixes.into_iter().map(|prefix| key.strip_prefix(prefix));
    let rest = rests.find_map(|rest| rest).unwrap_or(&key);
    let is_repeated = rest
        .bytes()
        .all(|byte| matches!(byte, b'x' | b'.' | b'*' | b'0' | b'-'));
    is_repeated || PLACEHOLDERS.contains(&rest) || matches!(rest, "123" | "1234" | "12345")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_recognized_and_keys_are_not() {
        for placeholder in [
            "dummy",
            "sk-xxx",
            "sk-XXXX",
            "sk-ant-...",
            "sk-dummy",
            "EMPTY",
            "x",
        ] {
            assert!(is_placeholder(placeholder), "{placeholder}");
        }
        for key in ["sk-own", "sk-ant-api03-xx", "tid=1;exp=2", "0a", "sk-x1"] {
            assert!(!is_placeholder(key), "{key}");
        }
    }
}
