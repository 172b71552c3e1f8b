//! The secret text of a key and its prebuilt header values. Both are wiped when the last handle is
//! dropped.

use std::fmt;
use std::sync::OnceLock;

use bytes::Bytes;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::key_search::{KeySearch, Pairs};

pub(super) struct Secret {
    text: SecretString,
    hint: Box<str>,
    header_value: HeaderValue,
    bearer: HeaderValue,
    pairs: OnceLock<Pairs>,
}

impl Secret {
    /// Returns what is wrong with the text if it cannot be sent as a key.
    pub(super) fn new(text: SecretString) -> Result<Self, &'static str> {
        const CONTROL: &str = "contains a control character, which no header can carry";
        let exposed = text.expose_secret();
        if exposed.trim().is_empty() {
            return Err("is empty");
        }
        // HTTP trims header values, so the provider would receive a different key.
        if exposed.trim() != exposed {
            return Err("has white space around it: trim keys that come from a file or a variable");
        }
        Ok(Self {
            hint: hint(exposed).into(),
            header_value: sensitive(&["", exposed]).ok_or(CONTROL)?,
            bearer: sensitive(&["Bearer ", exposed]).ok_or(CONTROL)?,
            text,
            pairs: OnceLock::new(),
        })
    }

    pub(super) fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    pub(super) fn hint(&self) -> &str {
        &self.hint
    }

    pub(super) fn header_value(&self) -> &HeaderValue {
        &self.header_value
    }

    /// A search for the key in what a provider sent.
    pub(super) fn search(&self) -> KeySearch<'_> {
        KeySearch::new(self.expose(), &self.pairs)
    }

    pub(super) fn bearer(&self) -> &HeaderValue {
        &self.bearer
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Secret").field(&self.hint).finish()
    }
}

/// A header value that is not printed and not stored in HPACK's table. Its clones share one buffer,
/// which is wiped when the last one is dropped.
fn sensitive(parts: &[&str; 2]) -> Option<HeaderValue> {
    // Allocated at once: a buffer that grows would leave a copy behind.
    let mut buffer = Zeroizing::new(Vec::with_capacity(parts[0].len() + parts[1].len()));
    for part in parts {
        buffer.extend_from_slice(part.as_bytes());
    }
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(buffer)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The first and last characters of a key: enough to distinguish it from other keys.
fn hint(text: &str) -> String {
    let shown = match text.chars().count() {
        0 => return String::new(),
        1..5 => 0,
        5..10 => 1,
        10..20 => 2,
        _ => 4,
    };
    let at = |mut ends: std::str::CharIndices<'_>, n: usize| ends.nth(n).map(|(at, _)| at);
    let head = at(text.char_indices(), shown).unwrap_or(text.len());
    let tail = match shown {
        0 => text.len(),
        _ => text
            .char_indices()
            .nth_back(shown - 1)
            .map_or(text.len(), |(at, _)| at),
    };
    format!("{}...{}", &text[..head], &text[tail..])
}

#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests {
    use super::hint;

    #[test]
    fn a_hint_shows_more_of_a_longer_key() {
        for (text, expected) in [
            ("", ""),
            ("ab", "..."),
            ("abcd", "..."),
            ("abcde", "a...e"),
            ("veryshort", "v...t"),
            ("tencharsok", "te...ok"),
            ("thisisquitelong", "th...ng"),
            ("hélloworld🌍!", "hé...🌍!"),
            ("sk-ant-api03-abcdefgh", "sk-a...efgh"),
        ] {
            assert_eq!(hint(text), expected, "{text}");
        }
    }
}
