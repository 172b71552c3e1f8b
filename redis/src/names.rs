//! What limits are called on the server: names that reveal nothing to those who lack the secret.

mod sealed;

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

pub(crate) use self::sealed::Sealed;

/// The name of one record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name([u8; 16]);

/// What a record is about. The kinds separate names that would otherwise be equal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    /// When a key can be used.
    Key(&'a str),
    /// When a group can be used.
    Group(&'a str),
    /// Whether a key works at all.
    Health(&'a str),
}

/// Makes the names of one pool.
#[derive(Clone)]
pub(crate) struct Names(Hmac<Sha256>);

impl Names {
    pub(crate) fn new(secret: &SecretString, pool: &str) -> Self {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.expose_secret().as_bytes())
            .expect("HMAC accepts keys of every length");
        add(&mut mac, pool);
        Self(mac)
    }

    pub(crate) fn name(&self, subject: Subject<'_>) -> Name {
        let (kind, text) = match subject {
            Subject::Key(key) => ("key", key),
            Subject::Group(group) => ("group", group),
            Subject::Health(key) => ("health", key),
        };
        let mut mac = self.start(kind);
        add(&mut mac, text);
        Name::of(mac)
    }

    /// An HMAC of something of this kind, which the caller adds.
    fn start(&self, kind: &str) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        add(&mut mac, kind);
        mac
    }
}

/// Adds a text and its length, so that no two lists of texts are equal.
fn add(mac: &mut Hmac<Sha256>, text: &str) {
    mac.update(&(text.len() as u64).to_be_bytes());
    mac.update(text.as_bytes());
}

impl Name {
    fn of(mac: Hmac<Sha256>) -> Self {
        let mut name = [0; 16];
        name.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        Self(name)
    }

    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let bits = u128::from_str_radix(text, 16).ok()?;
        is_hex.then_some(Self(bits.to_be_bytes()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(secret: &str, pool: &str) -> Names {
        Names::new(&SecretString::from(secret), pool)
    }

    #[test]
    fn names_depend_on_secret_pool_kind_and_text() {
        let (secret, other) = ("0123456789abcdef", "0123456789abcdeX");
        let all = [
            names(secret, "a").name(Subject::Key("k")),
            names(other, "a").name(Subject::Key("k")),
            names(secret, "b").name(Subject::Key("k")),
            names(secret, "a").name(Subject::Group("k")),
            names(secret, "a").name(Subject::Health("k")),
            names(secret, "a").name(Subject::Key("l")),
            names(secret, "a").name(Subject::Key("ks")),
        ];
        for (at, name) in all.iter().enumerate() {
            assert!(!all[..at].contains(name), "{at}");
        }
        let again = names(secret, "a").name(Subject::Key("k"));
        assert_eq!(all[0], again);
    }

    #[test]
    fn a_name_is_read_as_it_was_written() {
        let name = names("0123456789abcdef", "a").name(Subject::Key("k"));
        assert_eq!(Name::parse(name.to_string().as_bytes()), Some(name));
        for text in ["", "nonce", "+123456789abcdef0123456789abcdef"] {
            assert_eq!(Name::parse(text.as_bytes()), None, "{text}");
        }
    }
}
