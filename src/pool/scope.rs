use std::fmt;
use std::sync::Arc;

/// The part of a provider that a request addresses, such as a model or a deployment.
///
/// Many providers limit a key per model. A refusal that concerns one scope leaves the key usable for requests
/// with other scopes. See [`Mark::in_scope`](crate::Mark::in_scope).
///
/// Callers choose scopes, so only short, printable names are accepted. Two scopes are equal if their names are
/// equal byte by byte. A clone increments a reference count.
///
/// ```
/// use tower_key_failover::pool::Scope;
///
/// let scope = Scope::new("gpt-4o-mini").unwrap();
/// assert_eq!(scope.as_str(), "gpt-4o-mini");
/// assert!(Scope::new("").is_none());
/// assert!(Scope::new("line\nbreak").is_none());
/// assert!(Scope::new(&"x".repeat(129)).is_none());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Arc<str>);

impl Scope {
    pub(crate) const MAX_BYTES: usize = 128;

    /// Creates a scope with this name.
    ///
    /// Returns `None` unless the name consists of 1 to 128 printable ASCII characters.
    pub fn new(name: &str) -> Option<Self> {
        let is_printable = |byte| matches!(byte, b' '..=b'~');
        let is_valid =
            (1..=Self::MAX_BYTES).contains(&name.len()) && name.bytes().all(is_printable);
        is_valid.then(|| Self(name.into()))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scope").field(&self.as_str()).finish()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_other_name_is_no_scope(name in ".{0,140}|[ -~]{0,140}") {
            let is_valid = !name.is_empty()
                && name.len() <= 128
                && name.chars().all(|letter| letter.is_ascii_graphic() || letter == ' ');
            let scope = Scope::new(&name);
            prop_assert_eq!(scope.as_ref().map(Scope::as_str), is_valid.then_some(&*name));
        }
    }

    #[test]
    fn a_scope_has_1_to_128_printable_ascii_bytes() {
        let longest = "m".repeat(128);
        for name in ["m", " ", "~", "models/gemini-2.5-pro", &longest] {
            assert_eq!(Scope::new(name).unwrap().as_str(), name);
        }
        let too_long = "m".repeat(129);
        for name in [
            "", "\0", "\n", "a\tb", "\x7f", "modèle", "\u{85}", &too_long,
        ] {
            assert!(Scope::new(name).is_none(), "{name:?}");
        }
    }
}
