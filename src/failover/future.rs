use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response, response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::exchange::{Classified, Exchange, Next, Settled};
use super::request_body::RequestBody;
use super::response_body::{BodyKind, ResponseBody};
use super::wait::Wait;
use crate::BoxError;
use crate::inspect::Inspection;
use crate::policy::ProviderPolicy;
use crate::pool::Waiter;

pin_project! {
    /// Response future of [`KeyFailover`](crate::KeyFailover).
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime with time enabled if it waits for a key, for a body that the
    /// policy reads, or for the first event of a stream that it
    /// [holds back](crate::KeyFailoverLayer::commit_gate).
    pub struct ResponseFuture<S, P, B, R>
    where
        S: Service<Request<RequestBody<B>>>,
        P: ProviderPolicy,
        R: Body<Data = Bytes>,
    {
        #[pin]
        state: State<S::Future, R>,
        // `None`: the request passes untouched.
        exchange: Option<Exchange<S, P, B>>,
    }

    impl<S, P, B, R> PinnedDrop for ResponseFuture<S, P, B, R>
    where
        S: Service<Request<RequestBody<B>>>,
        P: ProviderPolicy,
        R: Body<Data = Bytes>,
    {
        /// A response that is still being inspected is judged by what was read.
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let StateProj::Inspecting { response: Some((head, body)) } = this.state.project() else {
                return;
            };
            if let (Some(exchange), false) = (this.exchange, std::thread::panicking()) {
                exchange.abandon(head, body);
            }
        }
    }
}

/// A response whose body is being read for the policy.
type Inspected<R> = (response::Parts, Pin<Box<Inspection<R>>>);

pin_project! {
    #[project = StateProj]
    enum State<F, R>
    where
        R: Body,
    {
        /// An attempt is under way.
        Attempt { #[pin] future: F },
        /// The head of the response was not enough to judge it.
        Inspecting { response: Option<Inspected<R>> },
        /// The key was refused, and the response is discarded.
        Refused { #[pin] body: BodyKind<R>, next: Option<Next> },
        /// The request has joined the wait queue. The next poll starts its timer.
        Queued { waiter: Option<Waiter> },
        /// The request waits for a key.
        Waiting { wait: Pin<Box<Wait>> },
        /// The inner service is becoming ready for the next attempt.
        Readying,
        /// No key is left.
        Exhausted,
        Done,
    }
}

impl<S, P, B, R> ResponseFuture<S, P, B, R>
where
    S: Service<Request<RequestBody<B>>>,
    P: ProviderPolicy,
    R: Body<Data = Bytes>,
{
    pub(super) fn untouched(future: S::Future) -> Self {
        Self {
            state: State::Attempt { future },
            exchange: None,
        }
    }

    pub(super) fn attempting(future: S::Future, exchange: Exchange<S, P, B>) -> Self {
        Self {
            state: State::Attempt { future },
            exchange: Some(exchange),
        }
    }

    pub(super) fn waiting(waiter: Waiter, exchange: Exchange<S, P, B>) -> Self {
        let waiter = Some(waiter);
        Self {
            state: State::Queued { waiter },
            exchange: Some(exchange),
        }
    }

    pub(super) fn exhausted(exchange: Exchange<S, P, B>) -> Self {
        Self {
            state: State::Exhausted,
            exchange: Some(exchange),
        }
    }
}

impl<S, P, B, R> Future for ResponseFuture<S, P, B, R>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone,
    P: ProviderPolicy,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
    R: Body<Data = Bytes>,
{
    type Output = Result<Response<ResponseBody<R>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let output = loop {
            let _inside = this.exchange.as_ref().and_then(Exchange::enter);
            let (verdict, head, body) =
                match (this.state.as_mut().project(), this.exchange.as_mut()) {
                    (StateProj::Attempt { future }, exchange) => {
                        let (head, body) = match ready!(future.poll(cx)) {
                            Ok(response) => response.into_parts(),
                            Err(error) => break Err(error),
                        };
                        let Some(exchange) = exchange else {
                            let body = ResponseBody::untouched(body);
                            break Ok(Response::from_parts(head, body));
                        };
                        match exchange.classify(&head) {
                            Classified::Judged(verdict) => {
                                (verdict, head, BodyKind::Upstream { body })
                            }
                            Classified::Read(reach) => {
                                let response = Some((head, Box::pin(Inspection::new(body, reach))));
                                this.state.set(State::Inspecting { response });
                                continue;
                            }
                        }
                    }
                    (StateProj::Inspecting { response }, Some(exchange)) => {
                        if let Some((_, body)) = response {
                            ready!(body.as_mut().poll_read(cx));
                        }
                        let (head, body) = response.take().expect("taken once");
                        let verdict = exchange.judge(&head, &body);
                        (verdict, head, BodyKind::Inspected { body })
                    }
                    (StateProj::Refused { body, next }, _) => {
                        body.drain(cx);
                        let next = match next.take() {
                            Some(Next::Wait(waiter)) => State::Queued {
                                waiter: Some(waiter),
                            },
                            Some(Next::Key) | None => State::Readying,
                        };
                        this.state.set(next);
                        continue;
                    }
                    (StateProj::Queued { waiter }, Some(exchange)) => {
                        let waiter = waiter.take().expect("taken once");
                        let wait =
                            Box::pin(Wait::new(waiter, exchange.wait_left().unwrap_or_default()));
                        this.state.set(State::Waiting { wait });
                        continue;
                    }
                    (StateProj::Waiting { wait }, Some(exchange)) => {
                        let (found, took) =
                            ready!(wait.as_mut().poll(cx, || exchange.take_key_or_wait()));
                        exchange.end_wait(took);
                        let next = if found {
                            State::Readying
                        } else {
                            State::Exhausted
                        };
                        this.state.set(next);
                        continue;
                    }
                    (StateProj::Readying, Some(exchange)) => {
                        if let Err(error) = ready!(exchange.poll_ready(cx)) {
                            break Err(error);
                        }
                        let next = match exchange.next_attempt() {
                            Some(future) => State::Attempt { future },
                            None => State::Exhausted,
                        };
                        this.state.set(next);
                        continue;
                    }
                    (StateProj::Exhausted, Some(exchange)) => break Ok(exchange.exhausted()),
                    (_, None) | (StateProj::Done, _) => {
                        panic!("`ResponseFuture` polled after completion")
                    }
                };
            let exchange = this
                .exchange
                .as_mut()
                .expect("only an exchange judges responses");
            match exchange.settle(verdict, head.status) {
                Settled::Forwarded => break Ok(exchange.forward(head, body)),
                Settled::RefusalForwarded => break Ok(exchange.forward_refusal(head, body)),
                Settled::Exhausted => break Ok(exchange.exhausted()),
                // Drops the attempt's future, which can hold permits.
                Settled::Next(next) => {
                    let next = Some(next);
                    this.state.set(State::Refused { body, next });
                }
            }
        };
        this.state.set(State::Done);
        *this.exchange = None;
        Poll::Ready(output)
    }
}

impl<S, P, B, R> fmt::Debug for ResponseFuture<S, P, B, R>
where
    S: Service<Request<RequestBody<B>>>,
    P: ProviderPolicy,
    R: Body<Data = Bytes>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Attempt { .. } => "attempt",
            State::Inspecting { .. } => "inspecting",
            State::Refused { .. } => "refused",
            State::Queued { .. } => "queued",
            State::Waiting { .. } => "waiting",
            State::Readying => "readying",
            State::Exhausted => "exhausted",
            State::Done => "done",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
