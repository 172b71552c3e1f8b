use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response, response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::BoxError;
use crate::body::{Inspection, RequestBody, ResponseBody};
use crate::info::{FailoverInfo, Outcome, Replay};
use crate::play::{self, Classified, Play, Settled};
use crate::policy::ProviderPolicy;
use crate::settings::Settings;

pin_project! {
    /// The future of [`KeyFailover`](crate::KeyFailover).
    ///
    /// # Panics
    ///
    /// A policy that answers [`Verdict::Inspect`](crate::Verdict::Inspect), one whose
    /// [`Verdict::Peek`](crate::Verdict::Peek) may wait, and a commit gate need a tokio runtime with
    /// time enabled.
    pub struct ResponseFuture<S, P, B, R>
    where
        S: Service<Request<RequestBody<B>>>,
        P: ProviderPolicy,
        R: Body<Data = Bytes>,
    {
        #[pin]
        state: State<S::Future, P, R>,
        // `None`: one attempt with the caller's own key.
        play: Option<Play<S, P, B>>,
    }

    impl<S, P, B, R> PinnedDrop for ResponseFuture<S, P, B, R>
    where
        S: Service<Request<RequestBody<B>>>,
        P: ProviderPolicy,
        R: Body<Data = Bytes>,
    {
        /// An answer that is still being inspected is judged by what came.
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if let (StateProj::Inspecting { answer }, Some(play)) = (this.state.project(), this.play)
            {
                if let (Some((head, body)), false) = (answer, std::thread::panicking()) {
                    let verdict = play.judge(head, body);
                    play.mark(verdict);
                }
            }
        }
    }
}

/// An answer whose body is being read for the policy.
type Inspected<R> = (response::Parts, Pin<Box<Inspection<R>>>);

pin_project! {
    #[project = StateProj]
    enum State<F, P, R>
    where
        R: Body,
    {
        /// An attempt is under way.
        Attempt { #[pin] future: F },
        /// It was answered, and the head was not enough.
        Inspecting { answer: Option<Inspected<R>> },
        /// It was refused, and is being let go.
        Refused { #[pin] body: ResponseBody<R> },
        /// The inner service is being made ready for the next key.
        Readying,
        /// No key was to be had.
        Exhausted { settings: Arc<Settings<P>> },
        Done,
    }
}

impl<S, P, B, R> ResponseFuture<S, P, B, R>
where
    S: Service<Request<RequestBody<B>>>,
    P: ProviderPolicy,
    R: Body<Data = Bytes>,
{
    pub(crate) fn passthrough(future: S::Future) -> Self {
        Self {
            state: State::Attempt { future },
            play: None,
        }
    }

    pub(crate) fn playing(future: S::Future, play: Play<S, P, B>) -> Self {
        Self {
            state: State::Attempt { future },
            play: Some(play),
        }
    }

    pub(crate) fn exhausted(settings: &Arc<Settings<P>>) -> Self {
        let settings = Arc::clone(settings);
        Self {
            state: State::Exhausted { settings },
            play: None,
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
            let (verdict, head, body) = match (this.state.as_mut().project(), this.play.as_mut()) {
                (StateProj::Attempt { future }, play) => {
                    let (head, body) = match ready!(future.poll(cx)) {
                        Ok(response) => response.into_parts(),
                        Err(error) => break Err(error),
                    };
                    let Some(play) = play else {
                        let body = ResponseBody::upstream(body);
                        break Ok(Response::from_parts(head, body));
                    };
                    match play.classify(&head) {
                        Classified::Judged(verdict) => {
                            (verdict, head, ResponseBody::upstream(body))
                        }
                        Classified::Read(reach) => {
                            let answer = Some((head, Box::pin(Inspection::new(body, reach))));
                            this.state.set(State::Inspecting { answer });
                            continue;
                        }
                    }
                }
                (StateProj::Inspecting { answer }, Some(play)) => {
                    if let Some((_, body)) = answer {
                        ready!(body.as_mut().poll_read(cx));
                    }
                    let (head, body) = answer.take().expect("taken once");
                    let verdict = play.judge(&head, &body);
                    (verdict, head, ResponseBody::inspected(body))
                }
                (StateProj::Refused { body }, _) => {
                    body.drain(cx);
                    this.state.set(State::Readying);
                    continue;
                }
                (StateProj::Readying, Some(play)) => {
                    if let Err(error) = ready!(play.poll_ready(cx)) {
                        break Err(error);
                    }
                    let future = play.again();
                    this.state.set(State::Attempt { future });
                    continue;
                }
                (StateProj::Exhausted { settings }, _) => {
                    let info = FailoverInfo::new(0, None, Outcome::Exhausted, Replay::NotNeeded);
                    break Ok(play::exhausted(settings, &[], info));
                }
                (StateProj::Inspecting { .. } | StateProj::Readying, None)
                | (StateProj::Done, _) => {
                    panic!("`ResponseFuture` polled after completion")
                }
            };
            let play = this.play.as_mut().expect("only a play is judged");
            match play.settle(verdict, head, body) {
                Settled::Answer(response) => break Ok(response),
                // Lets go of the attempt's future, and with it of permits that it may hold.
                Settled::Again(body) => this.state.set(State::Refused { body }),
            }
        };
        this.state.set(State::Done);
        *this.play = None;
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
            State::Readying => "readying",
            State::Exhausted { .. } => "exhausted",
            State::Done => "done",
        };
        f.debug_struct("ResponseFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
