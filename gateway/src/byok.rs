//! Counts the requests that bring their own key, and recognizes placeholders.
//!
//! SDKs refuse to start without a key, so people give them a placeholder. To the gateway, it is a key
//! of the client, for which there is no failover.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use axum::http::{HeaderName, header, request};
use tracing::warn;

use crate::policy::Policy;

const CARRIERS: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

/// The words that placeholders consist of.
const WORDS: [&str; 38] = [
    "sk",
    "ant",
    "proj",
    "or",
    "dummy",
    "test",
    "none",
    "null",
    "nil",
    "undefined",
    "empty",
    "fake",
    "placeholder",
    "change",
    "changeme",
    "replace",
    "me",
    "not",
    "needed",
    "required",
    "no",
    "key",
    "keys",
    "unused",
    "anything",
    "your",
    "api",
    "apikey",
    "openai",
    "anthropic",
    "gemini",
    "here",
    "insert",
    "example",
    "authenticated",
    "ollama",
    "lm",
    "studio",
];

#[derive(Default)]
pub struct ByokRequests {
    count: AtomicU64,
    has_warned: AtomicBool,
}

impl ByokRequests {
    /// Counts a request that brings its own key, and warns once if that is a placeholder.
    pub fn add(&self, head: &request::Parts, policy: &Policy) {
        self.count.fetch_add(1, Ordering::Relaxed);
        if !self.has_warned.load(Ordering::Relaxed)
            && !policy.is_byok_only()
            && has_placeholder(head, policy.key_header())
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

fn has_placeholder(head: &request::Parts, key_header: Option<&HeaderName>) -> bool {
    let carriers = CARRIERS.into_iter();
    let carriers = carriers.chain(key_header.map(HeaderName::as_str));
    let values = carriers.flat_map(|name| head.headers.get_all(name));
    let values = values.filter_map(|value| value.to_str().ok());
    let in_headers = values.map(|value| value.rsplit(' ').next().unwrap_or_default());
    let in_query = head.uri.query().into_iter().flat_map(|it| it.split('&'));
    let in_query = in_query.filter_map(|item| item.strip_prefix("key="));
    let protocols = head.headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let protocols = protocols.into_iter().filter_map(|it| it.to_str().ok());
    let in_protocols = protocols
        .flat_map(|list| list.split(','))
        .filter_map(|item| item.trim().strip_prefix("openai-insecure-api-key."));
    // A real key next to a placeholder is the one that counts.
    let keys = in_headers.chain(in_query).chain(in_protocols);
    let mut keys = keys.filter(|key| !key.is_empty()).peekable();
    keys.peek().is_some() && keys.all(is_placeholder)
}

/// Whether each word of a key is one of a placeholder.
fn is_placeholder(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let mut words = key.split(|it: char| !it.is_ascii_alphanumeric());
    words.all(|word| {
        let is_repeated = word.bytes().all(|byte| matches!(byte, b'x' | b'0'));
        let is_count = word.len() > 2 && "1234567890".starts_with(word);
        is_repeated || is_count || WORDS.contains(&word)
    })
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
            "sk-...",
            "***",
            "no-key-required",
            "<authenticated>",
            "<your-api-key>",
            "YOUR_OPENAI_API_KEY",
            "${OPENAI_API_KEY}",
            "sk-your-key-here",
            "not_needed",
            "lm-studio",
            "sk-12345678",
        ] {
            assert!(is_placeholder(placeholder), "{placeholder}");
        }
        for key in [
            "sk-own",
            "sk-ant-api03-xx",
            "tid=1;exp=2",
            "0a",
            "sk-x1",
            "12",
        ] {
            assert!(!is_placeholder(key), "{key}");
        }
    }
}
