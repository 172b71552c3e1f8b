//! Overwriting a key that a provider echoes, by `*` of equal length.

use std::ops::Range;

use http::{HeaderMap, HeaderName};
use zeroize::Zeroizing;

use super::json_escape;

#[cfg(feature = "grpc")]
use crate::binary;

/// A key as it may stand in a text: as it is, and in the encodings that people put keys into.
pub(crate) struct Forms {
    forms: Vec<Zeroizing<Vec<u8>>>,
    /// Whether each is looked for with its characters escaped, too.
    in_json: bool,
}

impl Forms {
    /// Encoded or escaped, a shorter key could be any text.
    const MIN_ENCODED: usize = 8;

    pub(crate) fn of(secret: &str) -> Self {
        let mut forms = Self::plain(secret).forms;
        let secret = secret.as_bytes();
        let mut add = |form| forms.push(Zeroizing::new(form));
        let is_long = secret.len() >= Self::MIN_ENCODED;
        if is_long {
            for digits in [b"0123456789abcdef", b"0123456789ABCDEF"] {
                add(hex(secret, digits));
                add(percent(secret, digits));
            }
            for alphabet in [BASE64, BASE64_URL_SAFE] {
                (0..3).for_each(|before| add(base64(secret, before, alphabet)));
            }
        }
        Self {
            forms,
            in_json: is_long,
        }
    }

    /// As it is alone.
    pub(super) fn plain(secret: &str) -> Self {
        Self {
            forms: vec![Zeroizing::new(secret.as_bytes().to_vec())],
            in_json: false,
        }
    }

    pub(super) fn stand_in(&self, text: &[u8]) -> bool {
        let mut finds = self.finds(text);
        finds.any(|find| self.forms.iter().any(|form| find(text, form).is_some()))
    }

    /// Overwrites each occurrence, and says whether there was one.
    pub(super) fn overwrite(&self, text: &mut [u8]) -> bool {
        let mut found = false;
        for find in self.finds(text) {
            for form in &self.forms {
                found |= overwrite(text, form, find);
            }
        }
        found
    }

    /// How to look for each form. Escaped comes first: as it is, one with a backslash at an end would
    /// be found amid an escape.
    fn finds(&self, text: &[u8]) -> impl Iterator<Item = Find> + use<> {
        let may_be_escaped = self.in_json && text.contains(&b'\\');
        let escaped = may_be_escaped.then_some(json_escape::find as Find);
        escaped.into_iter().chain([find as Find])
    }
}

/// Finds a form in a text.
type Find = fn(&[u8], &[u8]) -> Option<Range<usize>>;

fn overwrite(text: &mut [u8], form: &[u8], find: Find) -> bool {
    let mut from = 0;
    while let Some(found) = find(&text[from..], form) {
        text[from..][found.clone()].fill(b'*');
        from += found.end;
    }
    from > 0
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL_SAFE: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn hex(secret: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    let digits = |byte: &u8| {
        [
            digits[usize::from(byte >> 4)],
            digits[usize::from(byte & 15)],
        ]
    };
    secret.iter().flat_map(digits).collect()
}

fn percent(secret: &[u8], digits: &[u8; 16]) -> Vec<u8> {
    let mut text = Vec::with_capacity(3 * secret.len());
    for byte in secret {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(*byte);
        } else {
            text.push(b'%');
            text.extend(hex(&[*byte], digits));
        }
    }
    text
}

/// What is always there of a key's base64 where so many bytes of a group of three stand `before` it,
/// whatever these are, and whatever follows.
fn base64(secret: &[u8], before: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let bytes = Zeroizing::new([&[0; 2][..before], secret].concat());
    let text = bytes.chunks_exact(3).flat_map(|group| {
        let bits = group
            .iter()
            .fold(0, |bits, byte| (bits << 8) | usize::from(*byte));
        [18, 12, 6, 0].map(|shift| alphabet[(bits >> shift) & 63])
    });
    text.skip((before * 8).div_ceil(6)).collect()
}

fn find(text: &[u8], form: &[u8]) -> Option<Range<usize>> {
    let at = text.windows(form.len()).position(|window| window == form)?;
    Some(at..at + form.len())
}

/// Overwrites each occurrence of a key, in gRPC's binary metadata as well.
pub(crate) fn redact_headers(headers: &mut HeaderMap, forms: &Forms) {
    for (name, value) in headers.iter_mut() {
        let mut text = value.as_bytes().to_vec();
        // What is binary is to stay what can be decoded.
        let is_binary = overwrite_binary(name, &mut text, forms);
        if forms.overwrite(&mut text) || is_binary {
            *value = text.try_into().expect("as legal as it was");
        }
    }
}

#[cfg(feature = "grpc")]
fn overwrite_binary(name: &HeaderName, value: &mut Vec<u8>, forms: &Forms) -> bool {
    if !name.as_str().ends_with("-bin") {
        return false;
    }
    let mut found = false;
    let redacted: Vec<_> = binary::decode_each(value)
        .map(|bytes| {
            let mut bytes = bytes.unwrap_or_default();
            found |= forms.overwrite(&mut bytes);
            binary::encode(&bytes)
        })
        .collect();
    if found {
        *value = redacted.join(",").into_bytes();
    }
    found
}

#[cfg(not(feature = "grpc"))]
fn overwrite_binary(_: &HeaderName, _: &mut Vec<u8>, _: &Forms) -> bool {
    false
}

#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests {
    use super::Forms;

    fn redacted(secret: &str, text: &str) -> String {
        let mut text = text.as_bytes().to_vec();
        Forms::of(secret).overwrite(&mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_key_is_overwritten_in_every_encoding() {
        let key = "sk-ant+/~ key?";
        for (text, expected) in [
            ("key sk-ant+/~ key?!", "key **************!"),
            (
                "736b2d616e742b2f7e206b65793f.",
                "****************************.",
            ),
            (
                "736B2D616E742B2F7E206B65793F",
                "****************************",
            ),
            ("?k=sk-ant%2B%2F~%20key%3F&", "?k=**********************&"),
            ("?k=sk-ant%2b%2f~%20key%3f&", "?k=**********************&"),
            // Alone, and behind one byte and two.
            ("c2stYW50Ky9+IGtleT8=", "****************eT8="),
            ("c2stYW50Ky9-IGtleT8", "****************eT8"),
            ("OnNrLWFudCsvfiBrZXk_", "On******************"),
            ("dTpzay1hbnQrL34ga2V5Pw==", "dTp*****************Pw=="),
        ] {
            assert_eq!(redacted(key, text), expected, "{text}");
        }
    }

    #[test]
    fn a_short_key_is_overwritten_as_it_is_alone() {
        assert_eq!(redacted("k0", "k0 6b30 azA="), "** 6b30 azA=");
    }

    #[test]
    fn a_key_is_overwritten_whichever_of_its_characters_json_escapes() {
        let key = "sk-ant+/<\"\\é😀";
        for text in [
            r#"sk-ant+\/<\"\\é😀"#,
            r#"sk-ant\u002B/\u003C\u0022\\\u00E9\uD83D\uDE00"#,
            r#"\u0073k-ant\u002b\/\u003c\"\u005c\u00e9😀"#,
        ] {
            let expected = format!(r#"["\\{}\n"]"#, "*".repeat(text.len()));
            assert_eq!(redacted(key, &format!(r#"["\\{text}\n"]"#)), expected);
        }
    }

    #[test]
    fn what_is_overwritten_in_json_is_json_still() {
        // What is escaped holds each as it is, too, with half of an escape before or behind it.
        assert_eq!(redacted(r"\n-secret", r#""\\n-secret""#), r#""**********""#);
        assert_eq!(redacted(r"secret-\", r#""secret-\\""#), r#""*********""#);
    }

    #[test]
    fn a_key_with_backslashes_is_overwritten_as_it_is() {
        assert_eq!(redacted(r"secret\/", r"secret\/ \"), r"******** \");
    }

    #[test]
    fn the_encodings_of_a_key_are_overwritten_where_json_escapes_them() {
        let text = r"c2stYW50P35+Pz8\/ c2stYW50P35\u002bPz8/";
        let expected = "***************** *********************";
        assert_eq!(redacted("sk-ant?~~???", text), expected);
    }

    #[test]
    fn a_key_stands_in_a_text_that_escapes_it() {
        let forms = Forms::of("sk-ant/<key>");
        assert!(forms.stand_in(br"no sk-ant\/\u003ckey\u003e here"));
        assert!(!forms.stand_in(br"no sk-ant\/\u003dkey\u003e here"));
    }

    #[test]
    fn a_short_key_stays_where_it_is_escaped() {
        assert_eq!(redacted("k/0", r"k/0 k\/0"), r"*** k\/0");
    }

    #[test]
    fn a_plain_form_stays_where_it_is_escaped() {
        let mut text = *br"sk-ant/key sk-ant\/key";
        Forms::plain("sk-ant/key").overwrite(&mut text);
        assert_eq!(&text, br"********** sk-ant\/key");
    }
}
