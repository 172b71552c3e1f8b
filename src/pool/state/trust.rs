//! The evidence for and against a key: how often it was refused without proof, and whether it works.
//!
//! `epoch (32 bits) | repeated (15) | suspicions (16) | unproven (1)`. The low half is 0 if a success
//! has nothing to reset, which is the usual case and costs one load. The epoch grows with each reset
//! of a suspicion, so that a request can tell whether its suspicion still applies. It is
//! unrelated to the pool's epoch, which is a time.

use crate::sync::atomic::{AtomicU64, Ordering};

const UNPROVEN: u64 = 1;
const SUSPICION: u64 = 1 << 1;
const SUSPICIONS_MASK: u64 = 0xffff << 1;
const REPEATED: u64 = 1 << 17;
const REPEATED_MASK: u64 = 0x7fff << 17;
const EPOCH: u64 = 1 << 32;
const EPOCH_MASK: u64 = !(EPOCH - 1);

pub(super) struct Trust(AtomicU64);

/// A suspicion that one request raised. If the request succeeds with another key while the suspicion
/// applies, it convicts the suspected key: it marks the key permanently.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspicion {
    /// `None` if the key had returned to service since the request got it.
    epoch: Option<u32>,
    /// How many suspicions the key has, with this one.
    pub(in crate::pool) count: u32,
}

impl Suspicion {
    /// A suspicion of a key that has returned to service since the request got it. It never applies.
    pub(in crate::pool) const VOID: Self = Self {
        epoch: None,
        count: 0,
    };
}

impl Trust {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(UNPROVEN))
    }

    /// Whether a success changes nothing.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        self.0.load(Ordering::Relaxed) & !EPOCH_MASK == 0
    }

    /// Whether a request succeeded since the key was added or returned to service.
    pub(super) fn is_proven(&self) -> bool {
        self.0.load(Ordering::Relaxed) & UNPROVEN == 0
    }

    pub(super) fn suspicions(&self) -> u32 {
        suspicions(self.0.load(Ordering::Relaxed))
    }

    /// Whether the last value in the order of all changes has a suspicion. A plain load may return an
    /// earlier value.
    pub(super) fn is_suspected_at_last(&self) -> bool {
        suspicions(self.0.fetch_or(0, Ordering::SeqCst)) > 0
    }

    /// How many cooldowns of unknown length there were since the last success.
    pub(super) fn repeated(&self) -> u32 {
        ((self.0.load(Ordering::Relaxed) & REPEATED_MASK) / REPEATED) as u32
    }

    pub(super) fn suspect(&self) -> Suspicion {
        let before = self.update(|value| match value & SUSPICIONS_MASK {
            SUSPICIONS_MASK => value,
            _ => value + SUSPICION,
        });
        Suspicion {
            epoch: Some((before / EPOCH) as u32),
            count: (suspicions(before) + 1).min((SUSPICIONS_MASK / SUSPICION) as u32),
        }
    }

    pub(super) fn add_repeated(&self) {
        self.update(|value| match value & REPEATED_MASK {
            REPEATED_MASK => value,
            _ => value + REPEATED,
        });
    }

    /// Records a success. Returns how many suspicions it cleared.
    pub(super) fn succeed(&self, resets_repeated: bool) -> u32 {
        suspicions(self.update(|value| {
            let repeated = if resets_repeated {
                0
            } else {
                value & REPEATED_MASK
            };
            next_epoch(value) | repeated
        }))
    }

    /// Starts anew, because the key returned to service.
    pub(super) fn reset(&self, is_proven: bool) {
        let unproven = if is_proven { 0 } else { UNPROVEN };
        self.update(|value| next_epoch(value) | unproven);
    }

    /// Turns a suspicion that still applies into a conviction. Of several concurrent calls, exactly one
    /// succeeds. None succeeds after a success with the key.
    pub(super) fn convict(&self, suspicion: Suspicion) -> bool {
        let stands = |value: u64| {
            value & SUSPICIONS_MASK != 0 && Some((value / EPOCH) as u32) == suspicion.epoch
        };
        stands(self.update(|value| match stands(value) {
            true => next_epoch(value) | UNPROVEN,
            false => value,
        }))
    }

    /// Returns the previous value.
    fn update(&self, change: impl Fn(u64) -> u64) -> u64 {
        let mut seen = self.0.load(Ordering::SeqCst);
        loop {
            let (success, failure) = (Ordering::SeqCst, Ordering::SeqCst);
            match self
                .0
                .compare_exchange(seen, change(seen), success, failure)
            {
                Ok(_) => return seen,
                Err(now) => seen = now,
            }
        }
    }
}

fn suspicions(value: u64) -> u32 {
    ((value & SUSPICIONS_MASK) / SUSPICION) as u32
}

/// The next epoch with nothing in it. An epoch without suspicions continues.
fn next_epoch(value: u64) -> u64 {
    let epoch = value & EPOCH_MASK;
    if value & SUSPICIONS_MASK == 0 {
        epoch
    } else {
        epoch.wrapping_add(EPOCH)
    }
}
