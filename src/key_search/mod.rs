//! Finds a key in text that a provider sent: as it is, with characters escaped as in URLs and JSON,
//! in hex, or in base64.
//!
//! Nothing is masked: what contains a key is removed as a whole. The search therefore only has to
//! tell whether there is one, and a match that is too generous does no harm.

mod digits;
mod escapes;
mod pairs;
#[cfg(all(test, not(tower_key_failover_loom)))]
mod tests;

use std::sync::OnceLock;

use self::digits::{base64_value, hex_value, six_bits};
use self::escapes::{ESCAPES, Escaping, unescape};
pub(crate) use self::pairs::Pairs;

/// A shorter key is only searched for as it is: its encoded forms could occur in any text.
const MIN_ENCODED: usize = 8;

/// How many bits of the key belong to a character of base64 that starts before the key. The key starts
/// at the first, second or third byte of a group.
const BASE64_SKIPPED_BITS: [usize; 3] = [0, 4, 2];

/// A search for one key.
#[derive(Clone, Copy)]
pub(crate) struct KeySearch<'a> {
    key: &'a str,
    pairs: &'a OnceLock<Pairs>,
}

impl<'a> KeySearch<'a> {
    /// `pairs` are those of the key. They are made when they are first needed, because most responses
    /// contain nothing that is long enough for a key.
    pub(crate) fn new(key: &'a str, pairs: &'a OnceLock<Pairs>) -> Self {
        Self { key, pairs }
    }

    fn pairs(self) -> &'a Pairs {
        self.pairs.get_or_init(|| Pairs::of(self.key))
    }

    /// The length of the shortest text that can contain the key.
    pub(crate) fn min_len(self) -> usize {
        self.key.len()
    }

    /// Whether `text` contains the key.
    pub(crate) fn finds_in(self, text: &[u8]) -> bool {
        self.may_contain(text) && self.search(text, false)
    }

    /// Whether `text`, which is the start of a longer text, contains the key or ends within it.
    pub(crate) fn finds_in_start(self, text: &[u8]) -> bool {
        self.search(text, true)
    }

    /// Looks at a few windows of the text. If nothing is escaped, every form of the key covers one of
    /// them.
    fn may_contain(self, text: &[u8]) -> bool {
        if self.key.len() < MIN_ENCODED || ESCAPES.iter().any(|escape| text.contains(escape)) {
            return true;
        }
        let pairs = self.pairs();
        let mut windows = text.windows(Pairs::WINDOW);
        let step = self.key.len() - Pairs::WINDOW;
        std::iter::successors(windows.next(), |_| windows.nth(step))
            .any(|window| pairs.may_contain(window))
    }

    fn search(self, text: &[u8], is_cut: bool) -> bool {
        let mut starts = (0..text.len()).map(|at| &text[at..]);
        if self.key.len() < MIN_ENCODED {
            return starts.any(|text| text.starts_with(self.key.as_bytes()));
        }
        let pairs = self.pairs();
        let is_candidate = |text: &[u8]| {
            let window = text.get(..Pairs::WINDOW);
            window.is_some_and(|window| {
                pairs.may_contain(window) || window.iter().any(|byte| ESCAPES.contains(byte))
            })
        };
        starts.any(|text| is_candidate(text) && self.starts(text, is_cut))
    }

    /// Whether `text` starts with a form of the key.
    fn starts(self, text: &[u8], is_cut: bool) -> bool {
        let key = self.key.as_bytes();
        let matches = |units: usize, is_unit: &dyn Fn(usize, u8) -> bool| {
            Escaping::ALL.into_iter().any(|escaping| {
                match starts_with(text, escaping, units, is_unit) {
                    Match::Whole => true,
                    Match::Cut(matched) => is_cut && matched >= MIN_ENCODED,
                    Match::None => false,
                }
            })
        };
        let is_base64 = |skipped: usize| {
            matches((8 * key.len() - skipped) / 6, &|at, byte| {
                base64_value(byte) == Some(six_bits(key, skipped + 6 * at))
            })
        };
        matches(key.len(), &|at, byte| key[at] == byte)
            || matches(2 * key.len(), &|at, byte| {
                hex_value(byte) == Some(hex_digit(key, at))
            })
            || BASE64_SKIPPED_BITS.into_iter().any(is_base64)
    }
}

/// The value of one of the two digits of each byte.
fn hex_digit(key: &[u8], at: usize) -> u8 {
    match at % 2 {
        0 => key[at / 2] >> 4,
        _ => key[at / 2] & 15,
    }
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
