//! A caller's body that does what a test says, and a reader that polls an attempt's body by hand.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio_test::task;
use tower_key_failover::{RequestBody, RequestBodyError};

pub enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    Error,
    Panic,
    /// Something that happens while the body is being polled; then the next step.
    Meanwhile(Box<dyn FnOnce() + Send>),
    End,
}

/// The body. Out of steps it is pending.
pub struct Source(Arc<Mutex<Shared>>);

/// What the test keeps of it.
#[derive(Clone)]
pub struct Remote(Arc<Mutex<Shared>>);

struct Shared {
    steps: VecDeque<Step>,
    hint: SizeHint,
    waker: Option<Waker>,
    polls: usize,
    dropped: bool,
}

pub fn source(hint: SizeHint) -> (Source, Remote) {
    let shared = Arc::new(Mutex::new(Shared {
        steps: VecDeque::new(),
        hint,
        waker: None,
        polls: 0,
        dropped: false,
    }));
    (Source(Arc::clone(&shared)), Remote(shared))
}

/// A body of unknown length.
pub fn chunked() -> (Source, Remote) {
    source(SizeHint::default())
}

impl Remote {
    pub fn push(&self, step: Step) {
        let mut shared = self.0.lock().unwrap();
        shared.steps.push_back(step);
        let waker = shared.waker.take();
        drop(shared);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub fn data(&self, data: impl Into<Bytes>) {
        self.push(Step::Data(data.into()));
    }

    pub fn polls(&self) -> usize {
        self.0.lock().unwrap().polls
    }

    pub fn is_dropped(&self) -> bool {
        self.0.lock().unwrap().dropped
    }
}

impl Body for Source {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let mut shared = self.0.lock().unwrap();
        shared.polls += 1;
        loop {
            return Poll::Ready(match shared.steps.pop_front() {
                None => {
                    shared.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                Some(Step::Meanwhile(happen)) => {
                    drop(shared);
                    happen();
                    shared = self.0.lock().unwrap();
                    continue;
                }
                Some(Step::Data(data)) => {
                    if let Some(exact) = shared.hint.exact() {
                        shared.hint = SizeHint::with_exact(exact - data.len() as u64);
                    }
                    Some(Ok(Frame::data(data)))
                }
                Some(Step::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
                Some(Step::Error) => Some(Err("the caller went away")),
                Some(Step::Panic) => {
                    drop(shared);
                    panic!("the caller's body panics")
                }
                Some(Step::End) => None,
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap().hint.exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap().hint
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        // Not poisoned by a step that panics: the lock is let go first.
        self.0.lock().unwrap().dropped = true;
    }
}

/// Polls an attempt's body by hand.
pub struct Reader<B>(task::Spawn<RequestBody<B>>);

/// What came of a poll.
#[derive(Debug, PartialEq)]
pub enum Read {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    Pending,
    Superseded,
    Failed(String),
}

pub fn data(text: &'static str) -> Read {
    Read::Data(Bytes::from_static(text.as_bytes()))
}

impl<B> Reader<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<tower_key_failover::BoxError>,
{
    pub fn new(body: RequestBody<B>) -> Self {
        Self(task::spawn(body))
    }

    pub fn read(&mut self) -> Read {
        match self.0.enter(|cx, body| body.poll_frame(cx)) {
            Poll::Pending => Read::Pending,
            Poll::Ready(None) => Read::End,
            Poll::Ready(Some(Err(error))) if error.is_superseded() => Read::Superseded,
            Poll::Ready(Some(Err(error))) => Read::Failed(describe(&error)),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => Read::Data(data),
                Err(frame) => Read::Trailers(frame.into_trailers().unwrap()),
            },
        }
    }

    pub fn is_woken(&self) -> bool {
        self.0.is_woken()
    }

    pub fn body(&self) -> &RequestBody<B> {
        &self.0
    }

    /// The exact length, if it is known, and the minimum.
    pub fn hint(&self) -> (Option<u64>, u64) {
        let hint = self.0.size_hint();
        (hint.exact(), hint.lower())
    }

    pub fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }
}

fn describe(error: &RequestBodyError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
