//! Finds a key in text that a provider sent: as it is, with characters escaped as in URLs and JSON,
//! in hex, or in base64.
//!
//! Nothing is masked: what contains a key is removed as a whole. The search therefore only has to
//! tell whether there is one, and a match that is too generous does no harm.

/// A shorter key is only searched for as it is: its encoded forms could occur in any text.
const MIN_ENCODED: usize = 8;

/// A search for one key.
pub(crate) struct KeySearch<'a> {
    key: &'a [u8],
    /// For each byte, the forms of the key that can start with it.
    starts: [u8; 256],
}

/// A form of a key, as a bit of [`KeySearch::starts`].
mod form {
    pub(super) const PLAIN: u8 = 1;
    /// The first character can be escaped, so that every form can start here.
    pub(super) const ESCAPED: u8 = 2;
    pub(super) const HEX: u8 = 4;
    /// Base64, where the key starts at the first, second or third byte of a group.
    pub(super) const BASE64: [u8; 3] = [8, 16, 32];
}

/// How many bits of the key belong to a character of base64 that starts before the key.
const BASE64_SKIPPED_BITS: [usize; 3] = [0, 4, 2];

impl<'a> KeySearch<'a> {
    pub(crate) fn new(key: &'a str) -> Self {
        let key = key.as_bytes();
        let mut starts = [0; 256];
        let Some(&first) = key.first() else {
            return Self { key, starts };
        };
        starts[usize::from(first)] |= form::PLAIN;
        if key.len() >= MIN_ENCODED {
            for escape in *b"%\\" {
                starts[usize::from(escape)] |= form::ESCAPED;
            }
            for digit in hex_digits(first >> 4) {
                starts[usize::from(digit)] |= form::HEX;
            }
            for (form, skipped) in form::BASE64.into_iter().zip(BASE64_SKIPPED_BITS) {
                for character in base64_characters(six_bits(key, skipped)) {
                    starts[usize::from(character)] |= form;
                }
            }
        }
        Self { key, starts }
    }

    /// Whether `text` contains the key.
    pub(crate) fn finds_in(&self, text: &[u8]) -> bool {
        self.search(text, false)
    }

    /// Whether `text`, which is the start of a longer text, contains the key or ends within it.
    pub(crate) fn finds_in_start(&self, text: &[u8]) -> bool {
        self.search(text, true)
    }

    fn search(&self, text: &[u8], is_cut: bool) -> bool {
        let candidates = text.iter().enumerate();
        let mut candidates = candidates.filter_map(|(at, byte)| {
            let forms = self.starts[usize::from(*byte)];
            (forms != 0).then_some((at, forms))
        });
        candidates.any(|(at, forms)| self.starts_here(&text[at..], forms, is_cut))
    }

    fn starts_here(&self, text: &[u8], forms: u8, is_cut: bool) -> bool {
        let is_escaped = forms & form::ESCAPED != 0;
        let escapings = match self.key.len() {
            MIN_ENCODED.. => &Escaping::ALL[..],
            _ => &[Escaping::None],
        };
        let matches = |units: usize, is_unit: &dyn Fn(usize, u8) -> bool| {
            let mut escapings = escapings.iter();
            escapings.any(
                |escaping| match starts_with(text, *escaping, units, is_unit) {
                    Match::Whole => true,
                    Match::Cut(matched) => is_cut && matched >= MIN_ENCODED,
                    Match::None => false,
                },
            )
        };
        let key = self.key;
        if (is_escaped || forms & form::PLAIN != 0)
            && matches(key.len(), &|at, byte| key[at] == byte)
        {
            return true;
        }
        if (is_escaped || forms & form::HEX != 0)
            && matches(2 * key.len(), &|at, byte| {
                let digit = if at % 2 == 0 {
                    key[at / 2] >> 4
                } else {
                    key[at / 2] & 15
                };
                hex_value(byte) == Some(digit)
            })
        {
            return true;
        }
        let mut alignments = form::BASE64.into_iter().zip(BASE64_SKIPPED_BITS);
        alignments.any(|(form, skipped)| {
            (is_escaped || forms & form != 0)
                && matches((8 * key.len() - skipped) / 6, &|at, byte| {
                    base64_value(byte) == Some(six_bits(key, skipped + 6 * at))
                })
        })
    }
}

/// How often characters of a text are escaped at most. A key can contain what looks like an escape,
/// so that each has to be tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escaping {
    None,
    Once,
    /// A URL within a URL is escaped twice: `%252D`.
    Often,
}

impl Escaping {
    const ALL: [Self; 3] = [Self::None, Self::Once, Self::Often];
}

enum Match {
    Whole,
    /// The text ended after this many matching bytes.
    Cut(usize),
    None,
}

/// Whether `text` starts with `units` bytes for which `is_unit` holds.
fn starts_with(
    mut text: &[u8],
    escaping: Escaping,
    units: usize,
    is_unit: &dyn Fn(usize, u8) -> bool,
) -> Match {
    let mut at = 0;
    while at < units {
        if text.is_empty() {
            return Match::Cut(at);
        }
        let (character, len) = unescape(text, escaping).unwrap_or((text[0].into(), 1));
        for &byte in character.bytes() {
            if at == units || !is_unit(at, byte) {
                return Match::None;
            }
            at += 1;
        }
        text = &text[len..];
    }
    Match::Whole
}

/// The bytes of one character.
struct Character {
    bytes: [u8; 4],
    len: usize,
}

impl Character {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl From<u8> for Character {
    fn from(byte: u8) -> Self {
        let bytes = [byte, 0, 0, 0];
        Self { bytes, len: 1 }
    }
}

impl From<char> for Character {
    fn from(character: char) -> Self {
        let mut bytes = [0; 4];
        let len = character.encode_utf8(&mut bytes).len();
        Self { bytes, len }
    }
}

/// The character that an escape at the start of `text` stands for, and the length of the escape.
fn unescape(text: &[u8], escaping: Escaping) -> Option<(Character, usize)> {
    match text.first()? {
        _ if escaping == Escaping::None => None,
        b'%' => unescape_url(text, escaping),
        b'\\' => unescape_json(text),
        _ => None,
    }
}

fn unescape_url(text: &[u8], escaping: Escaping) -> Option<(Character, usize)> {
    let (mut byte, mut rest) = hex_byte(&text[1..])?;
    while escaping == Escaping::Often
        && byte == b'%'
        && let Some(inner) = hex_byte(rest)
    {
        (byte, rest) = inner;
    }
    Some((byte.into(), text.len() - rest.len()))
}

fn hex_byte(text: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, rest) = text.split_first_chunk::<2>()?;
    Some((hex_value(digits[0])? << 4 | hex_value(digits[1])?, rest))
}

fn unescape_json(text: &[u8]) -> Option<(Character, usize)> {
    let byte = match text.get(1)? {
        same @ (b'"' | b'\\' | b'/') => *same,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => return unescape_utf16(text),
        _ => return None,
    };
    Some((byte.into(), 2))
}

/// `\uXXXX`, two of which stand for a character beyond the first 65536.
fn unescape_utf16(text: &[u8]) -> Option<(Character, usize)> {
    const LEN: usize = 6;
    let units = text.chunks(LEN).map_while(|escape| {
        let digits = escape.strip_prefix(b"\\u")?.first_chunk::<4>()?;
        digits.iter().try_fold(0, |unit, digit| {
            Some(unit << 4 | u16::from(hex_value(*digit)?))
        })
    });
    let character = char::decode_utf16(units).next()?;
    let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
    Some((character.into(), LEN * character.len_utf16()))
}

/// The digits with this value, in either case.
fn hex_digits(value: u8) -> [u8; 2] {
    match value {
        0..=9 => [b'0' + value; 2],
        _ => [b'a' + value - 10, b'A' + value - 10],
    }
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The characters with this value, in both alphabets.
fn base64_characters(value: u8) -> [u8; 2] {
    match value {
        0..=25 => [b'A' + value; 2],
        26..=51 => [b'a' + value - 26; 2],
        52..=61 => [b'0' + value - 52; 2],
        62 => *b"+-",
        _ => *b"/_",
    }
}

/// The value of a character of either alphabet.
fn base64_value(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a' + 26),
        b'0'..=b'9' => Some(character - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// The six bits of the key that start at this bit.
fn six_bits(key: &[u8], bit: usize) -> u8 {
    let byte = |at: usize| u16::from(key.get(at).copied().unwrap_or_default());
    let pair = byte(bit / 8) << 8 | byte(bit / 8 + 1);
    (pair >> (10 - bit % 8)) as u8 & 63
}

#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::KeySearch;

    fn finds(key: &str, text: &str) -> bool {
        KeySearch::new(key).finds_in(text.as_bytes())
    }

    #[track_caller]
    fn assert_found(key: &str, texts: &[&str]) {
        for text in texts {
            assert!(finds(key, text), "{text}");
            assert!(
                finds(key, &format!("{{\"a\\\\\": \"%{text}%\"}}")),
                "{text}"
            );
        }
    }

    #[track_caller]
    fn assert_not_found(key: &str, texts: &[&str]) {
        for text in texts {
            assert!(!finds(key, text), "{text}");
        }
    }

    #[test]
    fn every_digit_and_character_is_found_by_its_value() {
        for byte in 0..=u8::MAX {
            let is_digit = |value| super::hex_digits(value).contains(&byte);
            assert_eq!(
                (0..16).find(|value| is_digit(*value)),
                super::hex_value(byte)
            );
            let is_character = |value| super::base64_characters(value).contains(&byte);
            let value = (0..64).find(|value| is_character(*value));
            assert_eq!(value, super::base64_value(byte));
        }
    }

    #[test]
    fn a_key_is_found_as_it_is() {
        assert_found("sk-ant+/~ key?", &["sk-ant+/~ key?"]);
        assert_found(r"secret\/%41", &[r"secret\/%41"]);
        assert_not_found("sk-ant-key", &["", "sk-ant-ke", "sk-ant_key", "SK-ANT-KEY"]);
    }

    #[test]
    fn a_key_is_found_whichever_of_its_characters_a_url_escapes() {
        assert_found(
            "sk-ant+/key%",
            &[
                "sk-ant%2B%2Fkey%25",
                "sk%2dant%2b%2fkey%25",
                "%73%6B%2D%61%6E%74%2B%2F%6b%65%79%25",
                "sk%252Dant%25252B%2Fkey%2525",
            ],
        );
        assert_not_found(
            "sk-ant+/key",
            &["sk%2Cant%2B%2Fkey", "sk%2-ant%2B%2Fkey", "sk-ant+/ke%7"],
        );
    }

    #[test]
    fn a_key_is_found_whichever_of_its_characters_json_escapes() {
        assert_found(
            "sk-ant+/<\"\\é😀\t",
            &[
                "sk-ant+\\/<\\\"\\\\é😀\\t",
                r"sk-ant\u002B/\u003C\u0022\\\u00E9\uD83D\uDE00\u0009",
                r#"\u0073k-ant\u002b\/\u003c\"\u005c\u00e9😀\t"#,
            ],
        );
        assert_not_found(
            "sk-ant-k<😀",
            &[
                r"sk-ant-k\u003d😀",
                r"sk-ant-k\u013c😀",
                r"sk-ant-k\<😀",
                r"sk-ant-k\u003c\ud83d",
                r"sk-ant-k\u003c\ud83dude00",
            ],
        );
    }

    #[test]
    fn a_key_is_found_in_hex_and_base64() {
        assert_found(
            "sk-ant+/~ key?",
            &[
                "736b2d616e742b2f7e206b65793f",
                "736B2D616E742B2f7e206b65793f",
                // Alone, and behind one byte and two.
                "c2stYW50Ky9+IGtleT8=",
                "c2stYW50Ky9-IGtleT8",
                "OnNrLWFudCsvfiBrZXk_",
                "dTpzay1hbnQrL34ga2V5Pw==",
                // Escaped once more.
                r"c2stYW50Ky9\u002bIGtleT8",
                "c2stYW50Ky9%2BIGtleT8%3D",
            ],
        );
        assert_not_found(
            "sk-ant+/~ key?",
            &["736b2d616e742b2f7e206b657930", "c2stYW50Ky9+IGtlZT8="],
        );
    }

    #[test]
    fn a_short_key_is_found_only_as_it_is() {
        assert_found("k/0", &["k/0"]);
        assert_not_found("k/0", &[r"k\/0", "k%2F0", "6b2f30", "ay8w"]);
    }

    #[test]
    fn a_text_that_is_cut_within_the_key_is_found_from_the_eighth_character_on() {
        let search = KeySearch::new("sk-ant-0123456789");
        let text = b"no: sk%2Dant-0123456789";
        for end in 0..text.len() {
            let text = &text[..end];
            assert!(!search.finds_in(text));
            assert_eq!(search.finds_in_start(text), end >= 14, "{end}");
        }
    }

    proptest! {
        #[test]
        fn a_key_is_found_anywhere_however_each_of_its_characters_is_escaped(
            key in "[!-~]{8,40}",
            before in "[ -~é]{0,9}",
            after in "[ -~é]{0,9}",
            escapes in prop::collection::vec(0..4_u8, 40),
        ) {
            let escaped: String = key.chars().zip(escapes).map(|(character, escape)| {
                match (escape, character) {
                    (0, '%' | '\\') | (1, _) => format!("%{:02x}", character as u32),
                    (2, _) => format!("\\u{:04X}", character as u32),
                    (3, '"' | '\\' | '/') => format!("\\{character}"),
                    _ if "%\\".contains(character) => format!("%{:02X}", character as u32),
                    _ => character.to_string(),
                }
            }).collect();
            let escaped = format!("{before}{escaped}{after}");
            let plain = format!("{before}{key}{after}");
            prop_assert!(finds(&key, &escaped));
            prop_assert!(finds(&key, &plain));
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            key in ".{0,20}",
            text in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let search = KeySearch::new(&key);
            search.finds_in(&text);
            search.finds_in_start(&text);
        }
    }
}
