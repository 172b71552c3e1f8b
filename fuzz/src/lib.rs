//! What the fuzz targets do with their input, as plain functions: libFuzzer drives them through
//! the thin programs in `fuzz_targets`, and `tests/corpus.rs` replays the corpus through them.
//!
//! Only the crate's public interface is used.

pub mod exchange;
pub mod hints;
pub mod refusals;
pub mod replay_buffer;

mod judge;
mod response;

/// A target's body.
pub type Target = fn(&[u8]);

/// Every target by its name, which its corpus has as well.
pub const TARGETS: [(&str, Target); 4] = [
    ("hints", hints::run),
    ("refusals", refusals::run),
    ("replay_buffer", replay_buffer::run),
    ("exchange", exchange::run),
];
