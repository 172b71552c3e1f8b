//! Who may try what is out, or has just returned: one request at a time.
//!
//! A second word beside that which says whether a key may be used:
//! `due (40 bits) | generation (16) | doublings (7) | held (1)`. It belongs to one generation of its
//! neighbour and is void in any other, so that nothing needs to be taken back.

use crate::sync::atomic::{AtomicU64, Ordering};

use super::word::Stamp;

const HELD: u64 = 1;
const DOUBLINGS_SHIFT: u32 = 1;
const DOUBLINGS_MASK: u64 = 0x7f;
const GENERATION_SHIFT: u32 = 8;
const DUE_SHIFT: u32 = 24;

pub(super) struct Trial(AtomicU64);

/// A value of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    /// When the key is to be tried, in milliseconds since the pool's epoch; 0: not at all.
    pub(super) due: u64,
    generation: u16,
    /// How often a trial has failed in this generation.
    pub(super) doublings: u32,
    /// Whether a request is trying it.
    pub(super) held: bool,
}

impl Offer {
    /// What there is where nothing was said yet.
    fn none(stamp: Stamp) -> Self {
        Self {
            due: 0,
            generation: stamp.generation() as u16,
            doublings: 0,
            held: false,
        }
    }

    fn unpack(word: u64) -> Self {
        Self {
            due: word >> DUE_SHIFT,
            generation: (word >> GENERATION_SHIFT) as u16,
            doublings: ((word >> DOUBLINGS_SHIFT) & DOUBLINGS_MASK) as u32,
            held: word & HELD != 0,
        }
    }

    fn pack(self) -> u64 {
        (self.due.min(Stamp::LATEST) << DUE_SHIFT)
            | (u64::from(self.generation) << GENERATION_SHIFT)
            | (u64::from(self.doublings).min(DOUBLINGS_MASK) << DOUBLINGS_SHIFT)
            | (if self.held { HELD } else { 0 })
    }
}

impl Trial {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// What is on offer while the neighbour says `stamp`.
    pub(super) fn offer(&self, stamp: Stamp) -> Offer {
        read(self.0.load(Ordering::Relaxed), stamp)
    }

    /// Takes what was on `offer`, unless that has changed. Exactly one of those who ask at once
    /// succeeds.
    pub(super) fn take(&self, stamp: Stamp, offer: Offer) -> bool {
        let word = self.0.load(Ordering::Relaxed);
        let taken = Offer {
            held: true,
            ..offer
        };
        !offer.held
            && !is_newer(word, stamp)
            && read(word, stamp) == offer
            && self.replace(word, taken)
    }

    /// Changes the offer of the generation of `stamp`, unless a newer one has begun.
    pub(super) fn update(&self, stamp: Stamp, change: impl Fn(&mut Offer)) {
        loop {
            let word = self.0.load(Ordering::Relaxed);
            if is_newer(word, stamp) {
                return;
            }
            let mut offer = read(word, stamp);
            change(&mut offer);
            if self.replace(word, offer) {
                return;
            }
        }
    }

    fn replace(&self, seen: u64, by: Offer) -> bool {
        self.0
            .compare_exchange(seen, by.pack(), Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

/// Whether a generation has begun since that of `stamp`, and has said anything.
fn is_newer(word: u64, stamp: Stamp) -> bool {
    let offer = Offer::unpack(word);
    let ahead = offer.generation.wrapping_sub(stamp.generation() as u16) as i16;
    ahead > 0 && (offer.held || offer.due != 0)
}

/// What `word` offers while the neighbour says `stamp`.
fn read(word: u64, stamp: Stamp) -> Offer {
    let offer = Offer::unpack(word);
    if offer.generation == stamp.generation() as u16 {
        offer
    } else {
        Offer::none(stamp)
    }
}
