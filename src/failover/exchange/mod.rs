//! One request, played with one key after another: which key is its current, whether another could
//! follow, and what the caller is told in the end.

mod attempt;
mod verdict;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

pub(super) use self::verdict::{Classified, Settled};
use super::config::Config;
use super::history::History;
use super::info::{AttemptRecord, Replay};
use super::wait::Found;
use crate::policy::{Mark, MarkKind, Verdict};
use crate::pool::{Asking, Key, KeyPool, Loan, Outlook, Pick, Place};
use crate::replay::Recorder;

pub(crate) struct Exchange<S, P, B> {
    config: Arc<Config<P>>,
    /// The attempt that is under way, or comes next.
    current: Option<CurrentAttempt>,
    attempts: usize,
    /// What a further attempt takes. `None`: this attempt is the last, whatever recovers meanwhile.
    replay_parts: Option<ReplayParts<S, B>>,
    replay: Replay,
    // Shared with nobody until the end.
    history: Option<Arc<History>>,
}

struct CurrentAttempt {
    key: Key,
    /// Where the key is only being tried.
    loan: Option<Box<Loan>>,
    started: Option<Instant>,
    /// Whether there was another key behind it.
    has_more: bool,
}

struct ReplayParts<S, B> {
    service: S,
    recorder: Recorder<B>,
}

/// What comes after a refusal.
pub(crate) enum Next {
    Key,
    /// No key can be had now, but one returns soon.
    Wait(Place),
}

impl<S, P, B> Exchange<S, P, B> {
    pub(crate) fn new(config: &Arc<Config<P>>) -> Self {
        Self {
            config: Arc::clone(config),
            current: None,
            attempts: 0,
            replay_parts: None,
            replay: Replay::NotNeeded,
            history: None,
        }
    }

    fn pool(&self) -> &KeyPool {
        let pool = self.config.pool.as_deref();
        pool.expect("without a pool there is no key to exchange with")
    }

    fn key(&self) -> &Key {
        &self.current.as_ref().expect("an attempt has a key").key
    }

    fn history(&mut self) -> &mut History {
        unshared(self.history.get_or_insert_default())
    }

    /// The keys that are not to be tried (again).
    fn tried(&self) -> impl Iterator<Item = &Key> + Clone {
        self.history.iter().flat_map(|history| history.tried())
    }

    fn kept(&self) -> impl Iterator<Item = &Key> + Clone {
        self.history.iter().flat_map(|history| history.kept())
    }

    /// Whether `more` attempts can still be made.
    fn has_attempts(&self, more: usize) -> bool {
        let bound = match (self.config.max_attempts, self.config.wait_for_key) {
            (Some(attempts), _) => attempts.get(),
            (None, Some(_)) => self.pool().len().saturating_mul(2),
            (None, None) => usize::MAX,
        };
        self.attempts.saturating_add(more) <= bound
    }

    /// Takes the next key of the walk, if there is one.
    #[inline]
    pub(crate) fn take_key(&mut self, can_go_on: bool) -> bool {
        let pick = self.pick(can_go_on);
        self.current = pick.map(CurrentAttempt::from);
        self.current.is_some()
    }

    #[inline]
    fn pick(&self, can_go_on: bool) -> Option<Pick> {
        self.pool().pick(self.asking(can_go_on), self.tried())
    }

    fn asking(&self, can_go_on: bool) -> Asking<'_> {
        let history = self.history.as_deref();
        Asking {
            after: history.and_then(History::last),
            can_go_on: can_go_on && self.has_attempts(2),
            has_waited: history.is_some_and(History::has_waited),
            may_wait: self.config.wait_for_key.is_some(),
        }
    }

    /// Whether another key could follow this attempt: decided once, as it starts.
    fn could_follow(&self) -> bool {
        let has_more = self
            .current
            .as_ref()
            .is_some_and(|current| current.has_more);
        self.is_repeatable_so_far() && self.has_attempts(2) && (has_more || self.may_still_wait())
    }

    /// Whether nothing is known that keeps the request from being sent again.
    fn is_repeatable_so_far(&self) -> bool {
        self.replay == Replay::NotNeeded
    }

    fn may_still_wait(&self) -> bool {
        self.wait_left().is_some_and(|left| !left.is_zero())
    }

    /// For how much longer the request may wait.
    pub(crate) fn wait_left(&self) -> Option<Duration> {
        let waited = self
            .history
            .as_deref()
            .map_or(Duration::ZERO, History::waited);
        Some(self.config.wait_for_key?.saturating_sub(waited))
    }

    /// A place among those who wait, if it is worth while. Then a new walk begins.
    pub(crate) fn queue(&mut self) -> Option<Place> {
        let left = self.wait_left().filter(|left| !left.is_zero())?;
        match self.pool().outlook(self.kept()) {
            Outlook::Hopeless => return None,
            Outlook::Out { returns, .. } if returns > left => return None,
            Outlook::Out { .. } | Outlook::Taken(_) => {}
        }
        if !self.has_attempts(1) {
            return None;
        }
        let place = self.pool().queue(self.kept().next().is_none())?;
        self.history().begin_wait();
        Some(place)
    }

    /// What there is for one who waits at the front.
    pub(crate) fn look(&mut self) -> Found {
        let asking = self.asking(self.is_repeatable_so_far());
        let pick = self.pool().pick_or_wait(asking, self.tried(), self.kept());
        match pick {
            Ok(pick) => {
                self.current = Some(pick.into());
                Found::Key
            }
            Err(outlook) => Found::Nothing(outlook),
        }
    }

    pub(crate) fn end_wait(&mut self, took: Duration) {
        self.history().end_wait(took);
    }

    /// What comes after a refusal, if the request can be sent again. Its body is then taken away
    /// from the attempt that was refused.
    fn next(&mut self, mark: Mark) -> Option<Next> {
        self.replay_parts.as_ref()?;
        if self.is_common_cause() {
            return None;
        }
        if let Some(pick) = self.pick(true) {
            self.supersede()?;
            // Used whatever happens to it meanwhile.
            self.current = Some(pick.into());
            return Some(Next::Key);
        }
        if mark.kind() == MarkKind::Keep {
            return None;
        }
        let place = self.queue()?;
        self.supersede()?;
        Some(Next::Wait(place))
    }

    fn supersede(&self) -> Option<()> {
        self.replay_parts.as_ref()?.recorder.supersede().ok()
    }

    fn is_common_cause(&self) -> bool {
        let alike = self
            .history
            .as_deref()
            .map_or(0, |history| history.suspects.len());
        let enough = self.config.common_cause.map(NonZeroUsize::get);
        enough.is_some_and(|enough| alike >= enough)
    }
}

fn unshared(history: &mut Arc<History>) -> &mut History {
    Arc::get_mut(history).expect("it is shared at the end alone")
}

impl CurrentAttempt {
    fn elapsed(&self) -> Option<Duration> {
        let started = self.started?;
        Some(Instant::now().saturating_duration_since(started))
    }

    fn into_record(self, verdict: Verdict, status: StatusCode) -> AttemptRecord {
        let elapsed = self.elapsed();
        AttemptRecord::new(self.key, status, verdict, elapsed)
    }
}

impl From<Pick> for CurrentAttempt {
    fn from(pick: Pick) -> Self {
        Self {
            key: pick.key,
            loan: pick.loan,
            started: None,
            has_more: pick.has_more,
        }
    }
}
