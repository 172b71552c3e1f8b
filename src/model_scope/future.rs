use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, request};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::RequestBody;
use super::start::Start;
use crate::pool::KeyChoice;

pin_project! {
    /// Response future of [`ModelScope`](super::ModelScope).
    pub struct ResponseFuture<S, B>
    where
        S: Service<Request<RequestBody<B>>>,
        B: Body,
    {
        #[pin]
        state: State<S, S::Future, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, F, B>
    where
        B: Body,
    {
        /// The start of the body is being read. `None` once it has been read.
        Reading { request: Option<Reading<S, B>> },
        /// The inner service has the request.
        Calling { #[pin] future: F },
    }
}

/// A request whose model is not known yet, and the service that is ready for it.
struct Reading<S, B: Body> {
    ready: S,
    head: request::Parts,
    start: Start<B>,
}

impl<S, B> ResponseFuture<S, B>
where
    S: Service<Request<RequestBody<B>>>,
    B: Body,
{
    pub(super) fn calling(future: S::Future) -> Self {
        let state = State::Calling { future };
        Self { state }
    }

    pub(super) fn reading(ready: S, head: request::Parts, start: Start<B>) -> Self {
        let request = Some(Reading { ready, head, start });
        let state = State::Reading { request };
        Self { state }
    }
}

impl<S, B> Future for ResponseFuture<S, B>
where
    S: Service<Request<RequestBody<B>>>,
    B: Body<Data = Bytes> + Unpin,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Calling { future } => return future.poll(cx),
                StateProj::Reading { request } => {
                    let reading = request
                        .as_mut()
                        .expect("polled after the inner service panicked");
                    let scope = ready!(reading.start.poll_scope(cx));
                    let Some(Reading {
                        mut ready,
                        mut head,
                        start,
                    }) = request.take()
                    else {
                        unreachable!("it was just polled");
                    };
                    if let Some(scope) = scope {
                        let choice = head.extensions.get_or_insert_default::<KeyChoice>();
                        *choice = mem::take(choice).scope(scope);
                    }
                    let request = Request::from_parts(head, start.into_body());
                    let future = ready.call(request);
                    state.set(State::Calling { future });
                }
            }
        }
    }
}

impl<S, B> fmt::Debug for ResponseFuture<S, B>
where
    S: Service<Request<RequestBody<B>>>,
    B: Body,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Reading { .. } => "Reading",
            State::Calling { .. } => "Calling",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
