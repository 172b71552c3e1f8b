//! Making an attempt: the first, which decides whether the request is kept, and those after it.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response, request};
use http_body::Body;
use tokio::time::Instant;
use tower_service::Service;

use super::{Exchange, ReplayParts, unshared};
use crate::BoxError;
use crate::failover::config::Config;
use crate::failover::info::{Attempt, Replay};
use crate::failover::request_body::RequestBody;
use crate::policy::ProviderPolicy;
use crate::replay::{Reader, Recorder};

impl<S, P, B, R> Exchange<S, P, B>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone,
    P: ProviderPolicy,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Whether the request could be sent twice, whatever keys there are.
    pub(crate) fn is_repeatable(&self, head: &request::Parts, body: &B) -> Result<(), Replay> {
        if head.method == Method::CONNECT {
            // What follows it is no HTTP.
            Err(Replay::NotNeeded)
        } else if body.size_hint().lower() > self.config.max_replay_bytes as u64 {
            Err(Replay::TooLarge)
        } else {
            Ok(())
        }
    }

    /// Makes the first attempt, with the service that is ready.
    pub(crate) fn first(
        &mut self,
        ready: &mut S,
        head: request::Parts,
        body: B,
        repeatable: Result<(), Replay>,
    ) -> S::Future {
        if !self.could_follow() {
            return self.send(ready, head, |attempt| RequestBody::direct(body, attempt));
        }
        if let Err(why) = repeatable {
            self.replay = why;
            return self.send(ready, head, |attempt| RequestBody::direct(body, attempt));
        }
        let reader = self.record(ready, &head, body);
        self.send(ready, head, |attempt| {
            RequestBody::recorded(reader, attempt)
        })
    }

    /// Makes no attempt yet: there is no key, and the service that is ready is let go.
    pub(crate) fn keep(
        &mut self,
        ready: &mut S,
        head: &request::Parts,
        body: B,
        repeatable: Result<(), Replay>,
    ) {
        *ready = ready.clone();
        if let Err(why) = repeatable {
            self.replay = why;
        }
        self.record(ready, head, body);
    }

    /// Keeps the request, so that it can be sent again.
    fn record(&mut self, service: &S, head: &request::Parts, body: B) -> Reader<B> {
        let Config {
            max_replay_bytes,
            replay_budget,
            ..
        } = &*self.config;
        // Copied before anything is injected: the kept head never holds a credential of ours.
        let (recorder, reader) =
            Recorder::start(head, body, *max_replay_bytes, replay_budget.clone());
        self.replay_parts = Some(ReplayParts {
            service: service.clone(),
            recorder,
        });
        reader
    }

    /// Makes the service for the next attempt ready.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        match &mut self.replay_parts {
            Some(parts) => parts.service.poll_ready(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Makes a further attempt, with the service that is ready. `None` if its key was removed from
    /// the pool meanwhile, and there is no other.
    pub(crate) fn next_attempt(&mut self) -> Option<S::Future> {
        if !self.key().is_removed() {
            let has_more = self.pool().has_more(self.key(), self.tried());
            self.current.as_mut()?.has_more = has_more;
        } else if !self.take_key(self.is_repeatable_so_far()) {
            return None;
        }
        let ReplayParts {
            service: mut ready,
            recorder,
        } = self
            .replay_parts
            .take()
            .expect("taken only by the last attempt");
        let (head, reader) = if self.could_follow() {
            let played = recorder.replay();
            let service = ready.clone();
            self.replay_parts = Some(ReplayParts { service, recorder });
            played
        } else {
            recorder.replay_last()
        };
        Some(self.send(&mut ready, head, |attempt| {
            RequestBody::recorded(reader, attempt)
        }))
    }

    fn send(
        &mut self,
        ready: &mut S,
        mut head: request::Parts,
        body: impl FnOnce(Attempt) -> RequestBody<B>,
    ) -> S::Future {
        self.attempts += 1;
        if let Some(history) = &mut self.history {
            unshared(history).trace.attempt(self.attempts);
        }
        let current = self.current.as_mut().expect("an attempt has a key");
        let attempt = Attempt::new(self.attempts, current.key.clone());
        self.config.policy.inject_key(&mut head, &current.key);
        if self.config.extensions {
            head.extensions.insert(attempt.clone());
        }
        current.started = self.config.timings.then(Instant::now);
        ready.call(Request::from_parts(head, body(attempt)))
    }
}
