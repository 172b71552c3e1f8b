//! One request: its first attempt, the verdict on each response, and its next attempts.

mod echoed_key;
mod exhausted_response;
mod first_attempt;
mod key_check;
mod next_attempt;
mod respond;
mod success;
mod trust;
mod verdict;
mod wait_for_key;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

pub(super) use self::next_attempt::Next;
pub(super) use self::success::Pending;
pub(super) use self::verdict::{Classified, Settled};
use super::attempt::AttemptRecord;
use super::config::Config;
use super::history::History;
use super::info::Replay;
use super::observer::{ExchangeObserver, ExchangeSpan};
use super::suspicions::Suspicions;
use super::tried_keys;
use crate::Observer;
use crate::policy::Verdict;
use crate::pool::{InFlight, Key, KeyChoice, KeyPool, Pick, PickRequest, PickedBy, Probe, Scope};
use crate::replay::Recorder;

type Span = <Observer as ExchangeObserver>::Span;
type Entered = <Span as ExchangeSpan>::Entered;

/// The state of one request between its attempts.
pub(super) struct Exchange<S, P, B> {
    config: Arc<Config<P>>,
    /// The attempt that is under way or comes next.
    current: Option<CurrentAttempt>,
    attempts: u32,
    /// `None`: the current attempt is the last, even if another key recovers meanwhile.
    replay_parts: Option<ReplayParts<S, B>>,
    replay: Replay,
    /// `None` until a key refuses the request or the request waits. Shared only as the exchange ends.
    history: Option<Arc<History>>,
    // Allocated only if the request chooses or suspects a key, or is counted, traced or timed.
    progress: Option<Box<Progress>>,
    /// Whether an attempt probed a key that was unusable or suspected.
    has_probed: bool,
}

/// What a request remembers of its attempts besides their history. It ends with the exchange.
#[derive(Default)]
struct Progress {
    /// What the request says about the choice of its key, with its scope and session.
    choice: Option<KeyChoice>,
    suspicions: Suspicions,
    span: Span,
    /// Counts the request as in flight with the current key.
    in_flight: Option<InFlight>,
    /// When the current attempt started.
    started: Option<Instant>,
}

struct CurrentAttempt {
    key: Key,
    /// The probe that this attempt is, if the key is not known to work.
    probe: Option<Box<Probe>>,
    picked_by: PickedBy,
    /// Whether another key was usable when this one was picked.
    has_more: bool,
}

/// What a further attempt needs.
struct ReplayParts<S, B> {
    service: S,
    recorder: Recorder<B>,
}

impl<S, P, B> Exchange<S, P, B> {
    pub(super) fn new(config: &Arc<Config<P>>, choice: Option<KeyChoice>) -> Self {
        let with_choice = |choice| Progress {
            choice: Some(choice),
            ..Progress::default()
        };
        Self {
            config: Arc::clone(config),
            current: None,
            attempts: 0,
            replay_parts: None,
            replay: Replay::NotNeeded,
            history: None,
            progress: choice.map(|choice| Box::new(with_choice(choice))),
            has_probed: false,
        }
    }

    /// Enters the request's span, if it has one.
    pub(super) fn enter(&self) -> Option<Entered> {
        self.progress.as_deref()?.span.enter()
    }

    fn choice(&self) -> Option<&KeyChoice> {
        self.progress.as_deref()?.choice.as_ref()
    }

    #[inline]
    fn scope(&self) -> Option<&Scope> {
        scope_in(&self.progress)
    }

    fn pool(&self) -> &KeyPool {
        let pool = self.config.pool.as_deref();
        pool.expect("a request passes untouched where there is no pool")
    }

    fn key(&self) -> &Key {
        &self.current.as_ref().expect("an attempt has a key").key
    }

    fn history_mut(&mut self) -> &mut History {
        // Nobody else has it before the exchange ends, so nothing is cloned.
        Arc::make_mut(self.history.get_or_insert_default())
    }

    fn refused(&self) -> &[AttemptRecord] {
        self.history.as_deref().map_or(&[], History::refused)
    }

    /// How long the current attempt has taken, if that is measured.
    #[inline]
    fn elapsed(&self) -> Option<Duration> {
        self.progress.as_deref()?.elapsed()
    }

    /// The keys that are not tried again.
    fn tried(&self) -> impl Iterator<Item = &Key> + Clone {
        tried_keys::tried(self.refused())
    }

    /// Takes the next key to try, if there is one.
    #[inline]
    pub(super) fn take_key(&mut self, can_continue: bool) -> bool {
        let pick = self.pick(can_continue);
        pick.is_some_and(|pick| {
            self.use_key(pick);
            true
        })
    }

    #[inline]
    fn pick(&self, can_continue: bool) -> Option<Pick> {
        let request = self.pick_request(can_continue);
        let refused = self.refused().iter().map(AttemptRecord::key);
        // Keys that have not refused the request come first.
        let pick = self.pool().pick(request, refused);
        if pick.is_some() || self.refused().is_empty() {
            return pick;
        }
        self.pool().pick(request, self.tried())
    }

    /// Uses a key for the next attempt.
    #[inline]
    fn use_key(&mut self, pick: Pick) {
        let probe = pick.probe.as_deref();
        let is_doubtful = probe.is_some_and(Probe::is_of_doubtful_key);
        self.has_probed |= is_doubtful;
        if pick.in_flight.is_some() || self.progress.is_some() {
            self.progress.get_or_insert_default().in_flight = pick.in_flight;
        }
        let picked_by = match self.choice() {
            _ if is_doubtful => PickedBy::Probe,
            Some(choice) if choice.is_pinned() => PickedBy::Pin,
            Some(choice) if choice.session().is_some() => PickedBy::Affinity,
            _ => PickedBy::Selection,
        };
        self.current = Some(CurrentAttempt {
            key: pick.key,
            probe: pick.probe,
            picked_by,
            has_more: pick.has_more,
        });
    }

    #[inline]
    fn pick_request(&self, can_continue: bool) -> PickRequest<'_> {
        let may_wait = self.config.wait_for_key.is_some();
        PickRequest {
            choice: self.choice(),
            can_continue: can_continue && self.has_attempts(2),
            has_probed: self.has_probed,
            yields_to_waiters: may_wait,
            may_exceed: !may_wait && self.refused().is_empty(),
        }
    }

    /// Whether `more` attempts can still be made. By default, that is one for each key, or two if the
    /// request may wait.
    #[inline]
    fn has_attempts(&self, more: usize) -> bool {
        let attempts = self.attempts as usize + more;
        if let Some(max) = self.config.max_attempts {
            return attempts <= max.get();
        }
        // Two attempts are possible, or there is no second key.
        attempts <= 2 || self.has_default_attempts(attempts)
    }

    #[cold]
    fn has_default_attempts(&self, attempts: usize) -> bool {
        let passes = if self.config.wait_for_key.is_some() {
            2
        } else {
            1
        };
        let max = self.pool().len().saturating_mul(passes);
        // A reload can replace keys that the request has tried.
        let tried = self.refused().iter().map(AttemptRecord::key);
        attempts <= max || attempts <= max + self.pool().count_replaced(tried)
    }
}

/// The scope of a request with this progress, while other parts of its exchange are borrowed.
#[inline]
fn scope_in(progress: &Option<Box<Progress>>) -> Option<&Scope> {
    progress.as_deref()?.choice.as_ref()?.scope_ref()
}

impl CurrentAttempt {
    #[inline]
    fn into_record(
        self,
        verdict: Verdict,
        status: StatusCode,
        elapsed: Option<Duration>,
    ) -> AttemptRecord {
        AttemptRecord::new(self.key, self.picked_by, status, verdict, elapsed)
    }
}

impl Progress {
    fn elapsed(&self) -> Option<Duration> {
        let started = self.started?;
        Some(Instant::now().saturating_duration_since(started))
    }
}
