//! The keys that a request does not try again.
//!
//! A key that the request let cool down can be tried again once its cooldown has ended. Until then,
//! its state keeps it from being picked. Every other refused key stays out.

use super::attempt::AttemptRecord;
use crate::policy::{MarkKind, Verdict};
use crate::pool::Key;

/// The refused keys that are not tried again.
pub(super) fn tried(refused: &[AttemptRecord]) -> impl Iterator<Item = &Key> + Clone {
    let tried = refused.iter().filter(|attempt| !was_rate_limited(attempt));
    tried.map(AttemptRecord::key)
}

/// The refused keys that were kept or suspected. They are usable, but would refuse the request again.
pub(super) fn kept(refused: &[AttemptRecord]) -> impl Iterator<Item = &Key> + Clone {
    let is_kept = |kind| matches!(kind, Some(MarkKind::Keep | MarkKind::Suspect));
    let kept = refused.iter().filter(move |attempt| is_kept(mark(attempt)));
    kept.map(AttemptRecord::key)
}

fn was_rate_limited(attempt: &AttemptRecord) -> bool {
    matches!(mark(attempt), Some(MarkKind::Temporary(_)))
}

fn mark(attempt: &AttemptRecord) -> Option<MarkKind> {
    match attempt.verdict() {
        Verdict::Failover(mark) => Some(mark.kind()),
        _ => None,
    }
}
