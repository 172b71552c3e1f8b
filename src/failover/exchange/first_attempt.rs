//! The first attempt. It decides whether the request is recorded for further ones.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, request};
use http_body::Body;
use tokio::time::Instant;
use tower_service::Service;

use super::{Exchange, ReplayParts};
use crate::failover::attempt::Attempt;
use crate::failover::config::Config;
use crate::failover::info::Replay;
use crate::failover::observer::{ExchangeObserver, ExchangeSpan};
use crate::failover::request_body::{Kind, RequestBody};
use crate::policy::ProviderPolicy;
use crate::replay::{Reader, Recorder};
use crate::{BoxError, Observer};

impl<S, P, B, R> Exchange<S, P, B>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone,
    P: ProviderPolicy,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Whether the request itself could be sent twice, or why not.
    pub(crate) fn is_replayable(&self, head: &request::Parts, body: &B) -> Result<(), Replay> {
        if head.method == Method::CONNECT {
            // What follows a CONNECT is not HTTP.
            Err(Replay::NotNeeded)
        } else if body.size_hint().lower() > self.config.max_replay_bytes as u64 {
            Err(Replay::TooLarge)
        } else {
            Ok(())
        }
    }

    /// Makes the first attempt, with the service that is ready.
    pub(crate) fn first_attempt(
        &mut self,
        ready: &mut S,
        head: request::Parts,
        body: B,
        replayable: Result<(), Replay>,
    ) -> S::Future {
        let body = if !self.could_follow() {
            Kind::Direct(body)
        } else if let Err(why) = replayable {
            self.replay = why;
            Kind::Direct(body)
        } else {
            Kind::Recorded(self.record(ready, &head, body))
        };
        self.send(ready, head, body)
    }

    /// Records the request without an attempt, since no key is usable yet. Replaces the service that
    /// is ready, which releases its permits.
    pub(crate) fn record_for_later(
        &mut self,
        ready: &mut S,
        head: &request::Parts,
        body: B,
        replayable: Result<(), Replay>,
    ) {
        *ready = ready.clone();
        if let Err(why) = replayable {
            self.replay = why;
        }
        self.record(ready, head, body);
    }

    fn record(&mut self, service: &S, head: &request::Parts, body: B) -> Reader<B> {
        let Config {
            max_replay_bytes,
            replay_budget,
            ..
        } = &*self.config;
        // Copied before a key is injected: the recorded head never holds one.
        let (recorder, reader) =
            Recorder::start(head, body, *max_replay_bytes, replay_budget.clone());
        self.replay_parts = Some(ReplayParts {
            service: service.clone(),
            recorder,
        });
        reader
    }

    /// Injects the current key and calls the service.
    pub(super) fn send(
        &mut self,
        ready: &mut S,
        mut head: request::Parts,
        body: Kind<B>,
    ) -> S::Future {
        self.attempts += 1;
        let number = self.attempts as usize;
        if self.config.timings {
            self.progress.get_or_insert_default();
        }
        if let Some(progress) = &mut self.progress {
            progress.span.on_attempt(number);
            progress.started = self.config.timings.then(Instant::now);
        }
        let current = self.current.as_ref().expect("an attempt has a key");
        let attempt = Attempt::new(number, current.key.clone());
        attempt.key().record_picked(current.picked_by);
        Observer::on_attempt(self.pool().name(), &attempt, current.picked_by);
        self.config.policy.inject_key(&mut head, attempt.key());
        if self.config.extensions {
            head.extensions.insert(attempt.clone());
        }
        let policy = Arc::clone(&self.config.policy);
        let body = RequestBody::of_attempt(body, attempt, policy);
        ready.call(Request::from_parts(head, body))
    }
}
