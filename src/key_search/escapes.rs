//! Characters that are escaped as in URLs and JSON.

use super::digits::hex_value;

/// The bytes with which an escape starts.
pub(super) const ESCAPES: [u8; 2] = *b"%\\";

/// How often characters of a text are escaped at most. A key can contain what looks like an escape,
/// so that each has to be tried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Escaping {
    None,
    Once,
    /// A URL within a URL is escaped twice: `%252D`.
    Often,
}

impl Escaping {
    pub(super) const ALL: [Self; 3] = [Self::None, Self::Once, Self::Often];
}

/// The bytes of one character.
pub(super) struct Character {
    bytes: [u8; 4],
    len: usize,
}

impl Character {
    pub(super) fn bytes(&self) -> &[u8] {
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
pub(super) fn unescape(text: &[u8], escaping: Escaping) -> Option<(Character, usize)> {
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
