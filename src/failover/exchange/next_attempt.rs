//! What follows a refusal: the next key, a wait for one, or nothing.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{Exchange, ReplayParts};
use crate::BoxError;
use crate::failover::info::Replay;
use crate::failover::request_body::{Kind, RequestBody};
use crate::policy::{Mark, MarkKind, ProviderPolicy};
use crate::pool::Waiter;

/// What follows a refusal.
pub(crate) enum Next {
    /// Another key, which is taken already.
    Key,
    /// No key is usable now, but one returns soon.
    Wait(Waiter),
}

impl<S, P, B> Exchange<S, P, B> {
    /// Whether another key could follow the current attempt. This is decided once, as it starts.
    pub(super) fn could_follow(&self) -> bool {
        let has_more = self
            .current
            .as_ref()
            .is_some_and(|current| current.has_more);
        self.is_replayable_so_far() && (has_more || self.may_still_wait()) && self.has_attempts(2)
    }

    /// Whether nothing is known that prevents a replay.
    pub(super) fn is_replayable_so_far(&self) -> bool {
        self.replay == Replay::NotNeeded
    }

    /// What follows a refusal, if the request can be replayed. The refused attempt can then no longer
    /// read the request's body.
    pub(super) fn next(&mut self, mark: Mark) -> Option<Next> {
        self.replay_parts.as_ref()?;
        let progress = self.progress.as_deref();
        if progress.is_some_and(|progress| progress.suspicions.is_full()) {
            return None;
        }
        if let Some(pick) = self.pick(true) {
            self.supersede()?;
            self.use_key(pick);
            return Some(Next::Key);
        }
        if matches!(mark.kind(), MarkKind::Keep | MarkKind::Suspect) {
            return None;
        }
        let waiter = self.join_queue()?;
        self.supersede()?;
        Some(Next::Wait(waiter))
    }

    fn supersede(&self) -> Option<()> {
        self.replay_parts.as_ref()?.recorder.supersede().ok()
    }
}

impl<S, P, B, R> Exchange<S, P, B>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone,
    P: ProviderPolicy,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Makes the service for the next attempt ready.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match &mut self.replay_parts {
            Some(parts) => parts.service.poll_ready(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Makes the next attempt, with the service that is ready. Returns `None` if no key is left.
    pub(crate) fn next_attempt(&mut self) -> Option<S::Future> {
        self.check_key()?;
        let ReplayParts {
            service: mut ready,
            recorder,
        } = self
            .replay_parts
            .take()
            .expect("only the last attempt takes it");
        let (head, reader) = if self.could_follow() {
            let replay = recorder.replay();
            let service = ready.clone();
            self.replay_parts = Some(ReplayParts { service, recorder });
            replay
        } else {
            recorder.replay_last()
        };
        Some(self.send(&mut ready, head, Kind::Recorded(reader)))
    }
}
