//! Names of scopes. Clients choose scopes, so a replica that hears of one may not know it yet. The record
//! therefore contains the scope, encrypted.
//!
//! The encryption is deterministic, as in SIV: the name of the record is an HMAC of the text, and the text
//! is masked with HMACs of that name. Opening a sealed text compares its HMAC with the name, so it cannot be
//! forged without the secret.

use std::fmt;

use hmac::Mac;
use tower_key_failover::pool::Scope;

use super::{Name, Names, add};

/// The number of bytes of an HMAC. Texts are padded to multiples of it, so their length reveals little.
const BLOCK: usize = 32;

/// The longest text: the name of a limit and a scope of 128 bytes, padded.
const LONGEST: usize = 5 * BLOCK;

/// The name of a limit and one of its scopes, for those who have the secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sealed(Vec<u8>);

impl Names {
    /// The name of the limit of `owner` in `scope`, and the sealed text that belongs to it.
    pub(crate) fn seal(&self, owner: Name, scope: &Scope) -> (Name, Sealed) {
        let name = self.in_scope(owner, scope);
        let mut text = [&owner.0, scope.as_str().as_bytes()].concat();
        text.resize(text.len().next_multiple_of(BLOCK), 0);
        self.mask(name, &mut text);
        (name, Sealed(text))
    }

    /// The name of the owner and the scope that were sealed under this name.
    pub(crate) fn open(&self, name: Name, sealed: &Sealed) -> Option<(Name, Scope)> {
        let mut text = sealed.0.clone();
        self.mask(name, &mut text);
        let (owner, scope) = text.split_first_chunk()?;
        let owner = Name(*owner);
        let scope = std::str::from_utf8(scope).ok()?.trim_end_matches('\0');
        let scope = Scope::new(scope)?;
        (self.in_scope(owner, &scope) == name).then_some((owner, scope))
    }

    fn in_scope(&self, owner: Name, scope: &Scope) -> Name {
        let mut mac = self.start("scope");
        mac.update(&owner.0);
        add(&mut mac, scope.as_str());
        Name::of(mac)
    }

    /// Masks a text, or removes the mask.
    fn mask(&self, name: Name, text: &mut [u8]) {
        for (at, block) in text.chunks_mut(BLOCK).enumerate() {
            let mut mac = self.start("mask");
            mac.update(&name.0);
            mac.update(&(at as u64).to_be_bytes());
            let mask = mac.finalize().into_bytes();
            block
                .iter_mut()
                .zip(mask)
                .for_each(|(byte, mask)| *byte ^= mask);
        }
    }
}

impl Sealed {
    /// Reads hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_legal = text.len() <= 2 * LONGEST && text.bytes().all(|it| it.is_ascii_hexdigit());
        if !is_legal || !text.len().is_multiple_of(2 * BLOCK) {
            return None;
        }
        let bytes = (0..text.len()).step_by(2);
        let bytes = bytes.map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok());
        bytes.collect::<Option<_>>().map(Self)
    }
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::names::Subject;

    fn names(secret: &str) -> Names {
        Names::new(&SecretString::from(secret), "pool")
    }

    #[test]
    fn scopes_of_every_length_are_opened_as_they_were_sealed() {
        let names = names("0123456789abcdef");
        let owner = names.name(Subject::Key("key"));
        for length in 1..=128 {
            let scope = Scope::new(&"m".repeat(length)).unwrap();
            let (name, sealed) = names.seal(owner, &scope);
            let text = sealed.to_string();
            assert!(!text.contains("6d6d6d6d"), "{text}");
            let read = Sealed::parse(&text).unwrap();
            assert_eq!(names.open(name, &read), Some((owner, scope)));
        }
    }

    #[test]
    fn sealed_texts_are_equal_for_the_same_scope_alone() {
        let names = names("0123456789abcdef");
        let (one, other) = (Subject::Key("one"), Subject::Group("one"));
        let (m, n) = (Scope::new("m").unwrap(), Scope::new("n").unwrap());
        let sealed = |subject, scope| names.seal(names.name(subject), scope);
        assert_eq!(sealed(one, &m), sealed(one, &m));
        let all = [sealed(one, &m), sealed(one, &n), sealed(other, &m)];
        for (at, (name, text)) in all.iter().enumerate() {
            assert!(
                all[..at]
                    .iter()
                    .all(|(it, other)| it != name && other != text)
            );
        }
    }

    #[test]
    fn nothing_that_was_changed_or_sealed_with_another_secret_is_opened() {
        let names = names("0123456789abcdef");
        let owner = names.name(Subject::Key("key"));
        let (name, sealed) = names.seal(owner, &Scope::new("gpt-4o").unwrap());
        for at in 0..sealed.0.len() {
            let mut changed = sealed.clone();
            changed.0[at] ^= 1;
            assert_eq!(names.open(name, &changed), None, "{at}");
        }
        assert_eq!(names.open(owner, &sealed), None);
        assert_eq!(
            super::tests::names("0123456789abcdeX").open(name, &sealed),
            None
        );
    }

    #[test]
    fn what_is_no_sealed_text_is_not_read() {
        let too_long = "00".repeat(LONGEST + BLOCK);
        for text in ["0", "zz", "00", "é", &"g".repeat(64), &too_long] {
            assert_eq!(Sealed::parse(text), None, "{text}");
        }
    }
}
