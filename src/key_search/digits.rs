//! Digits of hex and characters of base64, and their values.

/// The digits with this value, in either case.
pub(super) fn hex_digits(value: u8) -> [u8; 2] {
    match value {
        0..=9 => [b'0' + value; 2],
        _ => [b'a' + value - 10, b'A' + value - 10],
    }
}

pub(super) fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The characters with this value, in both alphabets.
pub(super) fn base64_characters(value: u8) -> [u8; 2] {
    match value {
        0..=25 => [b'A' + value; 2],
        26..=51 => [b'a' + value - 26; 2],
        52..=61 => [b'0' + value - 52; 2],
        62 => *b"+-",
        _ => *b"/_",
    }
}

/// The value of a character of either alphabet.
pub(super) fn base64_value(character: u8) -> Option<u8> {
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
pub(super) fn six_bits(key: &[u8], bit: usize) -> u8 {
    let byte = |at: usize| u16::from(key.get(at).copied().unwrap_or_default());
    let pair = byte(bit / 8) << 8 | byte(bit / 8 + 1);
    (pair >> (10 - bit % 8)) as u8 & 63
}
