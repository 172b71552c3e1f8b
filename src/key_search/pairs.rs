use zeroize::Zeroizing;

use super::digits::{base64_characters, hex_digits, six_bits};
use super::{BASE64_SKIPPED_BITS, MIN_ENCODED, hex_digit};

/// The pairs of adjacent bytes in all forms of a key, as a set of bits that is sometimes wrong: a pair
/// can seem to be in it.
// Wiped, because it says much about the key.
pub(crate) struct Pairs(Box<Zeroizing<[u64; Self::WORDS]>>);

impl Pairs {
    /// How many bytes of a text are compared at a time.
    pub(super) const WINDOW: usize = 4;

    const WORDS: usize = 64;

    pub(crate) fn of(key: &str) -> Self {
        let key = key.as_bytes();
        // Filled in place: a move would leave a copy behind.
        let mut pairs = Self(Box::new(Zeroizing::new([0; Self::WORDS])));
        if key.len() < MIN_ENCODED {
            return pairs;
        }
        pairs.add_form(key.len(), |at| [key[at]; 2]);
        pairs.add_form(2 * key.len(), |at| hex_digits(hex_digit(key, at)));
        for skipped in BASE64_SKIPPED_BITS {
            pairs.add_form((8 * key.len() - skipped) / 6, |at| {
                base64_characters(six_bits(key, skipped + 6 * at))
            });
        }
        pairs
    }

    /// Adds a form of this many bytes, each of which has up to two variants.
    fn add_form(&mut self, len: usize, variants: impl Fn(usize) -> [u8; 2]) {
        for at in 1..len {
            for first in variants(at - 1) {
                for second in variants(at) {
                    let (word, bit) = Self::place(first, second);
                    self.0[word] |= bit;
                }
            }
        }
    }

    /// Whether these bytes can be a part of a form.
    #[inline]
    pub(super) fn may_contain(&self, window: &[u8]) -> bool {
        window.windows(2).all(|pair| {
            let (word, bit) = Self::place(pair[0], pair[1]);
            self.0[word] & bit != 0
        })
    }

    #[inline]
    fn place(first: u8, second: u8) -> (usize, u64) {
        let hash = 31 * usize::from(first) + usize::from(second);
        (hash / 64 % Self::WORDS, 1 << (hash % 64))
    }
}
