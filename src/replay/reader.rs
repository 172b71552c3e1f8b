use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::buffer::{ReplayBuffer, Step, Tail};
use super::error::RequestBodyError;
use crate::BoxError;
use crate::sync::Arc;

/// The request body of one attempt: what is recorded, then the rest of the caller's body.
pub(crate) struct Reader<B> {
    buffer: Arc<ReplayBuffer<B>>,
    generation: u32,
    /// Whether it has read everything. It is complete from then on, and needs no lock.
    has_ended: bool,
    /// How many bytes it has read.
    read: u64,
}

type Polled = Poll<Option<Result<Frame<Bytes>, RequestBodyError>>>;

impl<B> Reader<B> {
    pub(super) fn new(buffer: &Arc<ReplayBuffer<B>>, generation: u32) -> Self {
        Self {
            buffer: Arc::clone(buffer),
            generation,
            // Only if the source announced its end: an empty body of unknown length stays chunked.
            has_ended: buffer.is_empty,
            read: 0,
        }
    }

    /// Returns the next step, or registers the current task to be woken.
    fn step(&mut self, cx: &Context<'_>) -> Poll<Step<B>> {
        let mut fresh = None;
        loop {
            let mut state = self.buffer.lock();
            if state.generation != self.generation {
                let superseded = RequestBodyError::superseded();
                return Poll::Ready(Step::Yield(Some(Err(superseded))));
            }
            if let Poll::Ready(step) = state.step() {
                self.has_ended = state.end_reader();
                return Poll::Ready(step);
            }
            if wakes(state.waker.as_ref(), cx) {
                return Poll::Pending;
            }
            if let Some(waker) = fresh.take() {
                let stale = state.waker.replace(waker);
                drop(state);
                drop(stale);
                return Poll::Pending;
            }
            drop(state);
            fresh = Some(cx.waker().clone());
        }
    }
}

fn wakes(waker: Option<&Waker>, cx: &Context<'_>) -> bool {
    waker.is_some_and(|waker| waker.will_wake(cx.waker()))
}

impl<B> Body for Reader<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let polled = match ready!(self.step(cx)) {
            Step::Yield(frame) => Poll::Ready(frame),
            Step::Poll(source) => {
                let mut source = PolledSource::new(&self.buffer, source);
                let mut polled = Pin::new(source.get())
                    .poll_frame(cx)
                    .map_err(|error| RequestBodyError::source(Some(error.into())));
                self.has_ended = source.put_back(self.generation, &mut polled, cx);
                polled
            }
        };
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.read += frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }

    /// Exact only if the caller's body was exact, so that a chunked upload stays chunked even once
    /// its length is known.
    fn size_hint(&self) -> SizeHint {
        let hint = &self.buffer.hint;
        let lower = hint.lower().saturating_sub(self.read);
        if hint.exact().is_some() {
            return SizeHint::with_exact(lower);
        }
        let mut hint = SizeHint::new();
        hint.set_lower(lower);
        hint
    }
}

impl<B> Drop for Reader<B> {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let mut state = self.buffer.lock();
        let mut source = None;
        let mut waker = None;
        if state.generation == self.generation {
            state.live = false;
            waker = state.waker.take();
            if state.is_abandoned() {
                source = state.abandon();
            }
        }
        drop(state);
        drop((source, waker));
    }
}

impl<B> fmt::Debug for Reader<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

/// The source, while a reader polls it. If that panics, the source is lost, and later readers get
/// an error.
struct PolledSource<'a, B> {
    buffer: &'a ReplayBuffer<B>,
    source: Option<B>,
}

impl<'a, B> PolledSource<'a, B> {
    fn new(buffer: &'a ReplayBuffer<B>, source: B) -> Self {
        let source = Some(source);
        Self { buffer, source }
    }

    fn get(&mut self) -> &mut B {
        self.source.as_mut().expect("put back only once")
    }

    /// Puts the source back and records what it yielded, which the reader then yields. Returns whether
    /// the reader has now read everything.
    fn put_back(mut self, generation: u32, polled: &mut Polled, cx: &Context<'_>) -> bool
    where
        B: Body<Data = Bytes>,
    {
        let fresh = polled.is_pending().then(|| cx.waker().clone());
        let goes_on = match &*polled {
            Poll::Pending => true,
            Poll::Ready(Some(Ok(frame))) => !frame.is_trailers() && !self.get().is_end_stream(),
            Poll::Ready(Some(Err(_)) | None) => false,
        };

        let mut source = self.source.take();
        let mut state = self.buffer.lock();
        state.polling = false;
        if !goes_on {
            state.tail = Tail::End(None);
        } else if !state.is_abandoned() {
            state.source = source.take();
        }
        let is_live = state.generation == generation;
        let (waker, has_ended);
        if is_live {
            waker = std::mem::replace(&mut state.waker, fresh);
            if let Poll::Ready(Some(frame)) = polled {
                state.record_read(frame);
            }
            has_ended = state.end_reader();
        } else {
            waker = state.waker.take();
            let superseded = Poll::Ready(Some(Err(RequestBodyError::superseded())));
            if let Poll::Ready(Some(frame)) = std::mem::replace(polled, superseded) {
                state.record_unread(frame);
            }
            has_ended = false;
        }
        drop(state);
        drop(source);
        match waker {
            Some(waker) if !is_live => waker.wake(),
            stale => drop(stale),
        }
        has_ended
    }
}

impl<B> Drop for PolledSource<'_, B> {
    fn drop(&mut self) {
        if self.source.is_none() {
            return;
        }
        let mut state = self.buffer.lock();
        state.polling = false;
        state.tail = Tail::Lost;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
