use super::attempt::AttemptRecord;
use crate::policy::{MarkKind, Verdict};
use crate::pool::Key;

/// Which keys a request does not try again.
///
/// Each pass over the pool tries a key at most once. A request that waited for a key begins a new
/// pass, which leaves out only the keys that refused the request and stayed usable.
#[derive(Clone, Copy, Default)]
pub(super) struct TriedKeys {
    /// The number of refused attempts before the current pass.
    before: usize,
}

impl TriedKeys {
    /// Begins a new pass, since the request waits for a key.
    pub(super) fn begin_wait(&mut self, refused: usize) {
        self.before = refused;
    }

    /// The keys that are not tried again.
    pub(super) fn all<'a>(
        self,
        refused: &'a [AttemptRecord],
    ) -> impl Iterator<Item = &'a Key> + Clone + use<'a> {
        let (before, pass) = refused.split_at(self.before);
        kept(before).chain(pass.iter().map(AttemptRecord::key))
    }
}

/// The keys that refused this request and stayed usable, because their mark was `Keep` or `Suspect`.
pub(super) fn kept(refused: &[AttemptRecord]) -> impl Iterator<Item = &Key> + Clone {
    let kept = refused.iter().filter(|attempt| is_kept(attempt));
    kept.map(AttemptRecord::key)
}

fn is_kept(attempt: &AttemptRecord) -> bool {
    match attempt.verdict() {
        Verdict::Failover(mark) => matches!(mark.kind(), MarkKind::Keep | MarkKind::Suspect),
        _ => false,
    }
}
