//! What has happened to a request so far. There is nothing of it until a key was refused or the
//! request has to wait.

use std::time::Duration;

use smallvec::SmallVec;

use super::info::AttemptRecord;
use super::suspects::Suspects;
use crate::policy::{MarkKind, Verdict};
use crate::pool::Key;
use crate::telemetry::Trace;

#[derive(Default)]
pub(crate) struct History {
    // Most requests that are refused are refused once.
    refused: SmallVec<[AttemptRecord; 2]>,
    /// Where the present walk over the keys begins in it.
    walk: usize,
    has_waited: bool,
    waited: Duration,
    pub(crate) suspects: Suspects,
    pub(crate) trace: Trace,
}

impl History {
    pub(crate) fn push(&mut self, refused: AttemptRecord) {
        self.refused.push(refused);
    }

    /// The key that the present walk has come to.
    pub(crate) fn last(&self) -> Option<&Key> {
        self.refused[self.walk..].last().map(AttemptRecord::key)
    }

    /// The keys that are not to be tried: those of this walk, and those that refused this request
    /// without being marked.
    pub(crate) fn tried(&self) -> impl Iterator<Item = &Key> + Clone {
        let (before, walk) = self.refused.split_at(self.walk);
        let kept = before.iter().filter(|attempted| is_kept(attempted));
        kept.chain(walk).map(AttemptRecord::key)
    }

    /// The keys that refused this request without being marked.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Key> + Clone {
        let kept = self.refused.iter().filter(|attempted| is_kept(attempted));
        kept.map(AttemptRecord::key)
    }

    pub(crate) fn has_waited(&self) -> bool {
        self.has_waited
    }

    pub(crate) fn waited(&self) -> Duration {
        self.waited
    }

    /// The request waits for a key; then a new walk begins.
    pub(crate) fn begin_wait(&mut self) {
        self.has_waited = true;
        self.walk = self.refused.len();
    }

    pub(crate) fn end_wait(&mut self, took: Duration) {
        self.waited += took;
    }

    pub(crate) fn refused(&self) -> &[AttemptRecord] {
        &self.refused
    }
}

fn is_kept(attempted: &AttemptRecord) -> bool {
    match attempted.verdict() {
        Verdict::Failover(mark) => mark.kind() == MarkKind::Keep,
        Verdict::Forward | Verdict::Inspect | Verdict::Peek => false,
    }
}
