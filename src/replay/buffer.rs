//! One request, kept while it is sent so that it can be sent again.
//!
//! The caller's body (the *source*) streams through the buffer: each attempt reads a [`Reader`] of
//! it, which yields what was recorded and then polls the source on. Views of refused attempts stay
//! around, since a client may hold and poll a refused attempt's body for a while: only the *live*
//! reader, that of the latest attempt, gets anything. A superseded one gets an error, and no end that
//! it had not read before: a body that was cut short must not look complete.
//!
//! The source is polled outside the lock, and no waker is cloned, dropped or woken inside it.

use std::fmt;
use std::pin::Pin;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, request};
use http_body::{Body, Frame, SizeHint};

use super::budget::ReplayBudget;
use super::error::RequestBodyError;
use super::head::KeptHead;
use super::recording::{Recording, Stopped};
use crate::BoxError;
use crate::sync::{Arc, Mutex, MutexGuard};

/// The right to send the request again. When it is dropped, recording ends and what was recorded is
/// freed as the live reader reads it.
pub(crate) struct Recorder<B> {
    /// `None` once recording has ended.
    buffer: Option<Arc<ReplayBuffer<B>>>,
}

struct ReplayBuffer<B> {
    /// What the caller's body said of itself at first: the framing that each attempt is to have.
    hint: SizeHint,
    was_ended: bool,
    state: Mutex<State<B>>,
}

struct State<B> {
    /// Which reader is live: the latest, or the one that is to come.
    generation: u32,
    /// Whether the live reader exists, and has still to read.
    live: bool,
    /// The head to send again, while that is possible. It never holds a credential of ours.
    head: Option<KeptHead>,
    recording: Recording,
    /// The caller's body; absent once it has ended, and while a reader polls it.
    source: Option<B>,
    polling: bool,
    tail: Tail,
    /// The live reader's task, if it waits.
    waker: Option<Waker>,
}

/// How the body ended, once all that is recorded has been read.
enum Tail {
    /// It has not ended.
    Open,
    /// It has ended, with trailers that the live reader is still to get.
    Trailers(HeaderMap),
    /// It has ended, and the live reader knows. The trailers are for the reader after it.
    End(Option<HeaderMap>),
    /// It failed; the error is there until a reader gets it.
    Failed(Option<BoxError>),
    /// It panicked.
    Lost,
}

/// Why the request cannot be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotReplayable {
    TooLarge,
    OverBudget,
    BodyFailed,
}

impl<B: Body> Recorder<B> {
    /// Begins a buffer, and its first reader.
    pub(crate) fn start(
        head: &request::Parts,
        body: B,
        limit: usize,
        budget: ReplayBudget,
    ) -> (Self, Reader<B>) {
        let was_ended = body.is_end_stream();
        let buffer = Arc::new(ReplayBuffer {
            hint: body.size_hint(),
            was_ended,
            state: Mutex::new(State {
                generation: 0,
                live: !was_ended,
                head: Some(KeptHead::of(head)),
                recording: Recording::new(limit, budget),
                source: Some(body),
                polling: false,
                tail: Tail::Open,
                waker: None,
            }),
        });
        let reader = Reader::new(&buffer, 0);
        (
            Self {
                buffer: Some(buffer),
            },
            reader,
        )
    }
}

impl<B> Recorder<B> {
    /// Ends the recording, and says why the request could not have been sent again before.
    pub(crate) fn end(&mut self) -> Option<NotReplayable> {
        self.buffer.take().and_then(ReplayBuffer::end)
    }

    fn buffer(&self) -> &Arc<ReplayBuffer<B>> {
        self.buffer.as_ref().expect("taken as it ends")
    }

    /// Takes the body away from the attempt under way, unless the request cannot be sent again.
    ///
    /// At once, and not only when the next attempt begins: what the refused one read until then
    /// might be more than can be recorded, and the next one would lack it.
    pub(crate) fn supersede(&self) -> Result<(), NotReplayable> {
        let mut state = self.buffer().lock();
        if let Some(why) = state.unrepeatable() {
            return Err(why);
        }
        state.generation += 1;
        state.live = false;
        if let Tail::End(trailers) = &mut state.tail {
            state.tail = match trailers.take() {
                Some(trailers) => Tail::Trailers(trailers),
                None => Tail::End(None),
            };
        }
        state.recording.rewind();
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// The head, and the reader for the attempt that [`supersede`](Self::supersede) made room for.
    pub(crate) fn replay(&self) -> (request::Parts, Reader<B>) {
        let (mut kept, reader) = self.reader();
        // Copied outside the lock: extensions are other people's code.
        let head = kept.read();
        self.buffer().lock().head = Some(kept);
        (head, reader)
    }

    /// The same for the last time: nothing is recorded any more.
    pub(crate) fn replay_last(self) -> (request::Parts, Reader<B>) {
        let (mut kept, reader) = self.reader();
        (kept.read(), reader)
    }

    fn reader(&self) -> (KeptHead, Reader<B>) {
        let buffer = self.buffer();
        let mut state = buffer.lock();
        state.live = !buffer.was_ended;
        let head = state.head.take();
        let generation = state.generation;
        drop(state);
        (
            head.expect("it is kept as long as there is a recorder"),
            Reader::new(buffer, generation),
        )
    }
}

impl<B> Drop for Recorder<B> {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            ReplayBuffer::end(buffer);
        }
    }
}

impl<B> fmt::Debug for Recorder<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl<B> ReplayBuffer<B> {
    fn lock(&self) -> MutexGuard<'_, State<B>> {
        // Nothing panics while it is held; were it otherwise, each field is still in order.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(mut buffer: Arc<Self>) -> Option<NotReplayable> {
        if let Some(buffer) = Arc::get_mut(&mut buffer) {
            // There is no reader left: all of it goes now.
            let state = buffer.state.get_mut();
            return state.unwrap_or_else(PoisonError::into_inner).unrepeatable();
        }
        let mut state = buffer.lock();
        let why = state.unrepeatable();
        state.recording.stop(Stopped::Done);
        let rest = if state.live { None } else { state.abandon() };
        let head = state.head.take();
        drop(state);
        drop((rest, head));
        why
    }
}

impl<B> State<B> {
    fn unrepeatable(&self) -> Option<NotReplayable> {
        match (&self.tail, self.recording.stopped()) {
            (Tail::Failed(_) | Tail::Lost, _) => Some(NotReplayable::BodyFailed),
            (_, Some(Stopped::TooLarge)) => Some(NotReplayable::TooLarge),
            (_, Some(Stopped::OverBudget)) => Some(NotReplayable::OverBudget),
            (_, None | Some(Stopped::Done)) => None,
        }
    }

    /// Frees what nobody will read. The source is handed out, to be dropped outside the lock.
    fn abandon(&mut self) -> Option<B> {
        self.recording.clear();
        self.source.take()
    }

    /// Whether anybody may still read.
    fn is_abandoned(&self) -> bool {
        !self.live && self.recording.stopped().is_some()
    }
}

/// One attempt's reading of the body.
pub(crate) struct Reader<B> {
    buffer: Arc<ReplayBuffer<B>>,
    generation: u32,
    /// Whether it has read all there is. It is complete then, whatever happens, and needs no lock.
    has_ended: bool,
    /// The bytes that it has read.
    read: u64,
}

/// What came of a poll.
type Polled = Poll<Option<Result<Frame<Bytes>, RequestBodyError>>>;

/// What a reader is to do, found out under the lock.
enum Step<B> {
    Yield(Option<Result<Frame<Bytes>, RequestBodyError>>),
    Poll(B),
}

impl<B> Reader<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let polled = match self.step(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Step::Yield(frame)) => Poll::Ready(frame),
            Poll::Ready(Step::Poll(source)) => {
                let mut source = Borrowed::new(&self.buffer, source);
                let polled = Pin::new(source.get()).poll_frame(cx);
                let (polled, has_ended) = source.settle(self.generation, polled, cx);
                self.has_ended = has_ended;
                polled
            }
        };
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.read += frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        polled
    }

    /// Looks what there is to do, and parks where there is nothing.
    fn step(&mut self, cx: &Context<'_>) -> Poll<Step<B>> {
        let mut fresh = None;
        loop {
            let mut state = self.buffer.lock();
            if state.generation != self.generation {
                let superseded = RequestBodyError::superseded();
                return Poll::Ready(Step::Yield(Some(Err(superseded))));
            }
            if let Poll::Ready(step) = state.step() {
                self.has_ended = state.end_view();
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

impl<B> Reader<B> {
    fn new(buffer: &Arc<ReplayBuffer<B>>, generation: u32) -> Self {
        Self {
            buffer: Arc::clone(buffer),
            generation,
            // Known to be empty only if the caller said so: an empty chunked body stays chunked.
            has_ended: buffer.was_ended,
            read: 0,
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.has_ended
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let hint = &self.buffer.hint;
        let lower = hint.lower().saturating_sub(self.read);
        // A length that the caller did not tell stays untold, even once it is known.
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
        let mut rest = None;
        let mut waker = None;
        if state.generation == self.generation {
            state.live = false;
            waker = state.waker.take();
            if state.is_abandoned() {
                rest = state.abandon();
            }
        }
        drop(state);
        drop((rest, waker));
    }
}

impl<B> State<B> {
    /// What there is to do for the live reader. Pending: a superseded one is polling the source, and
    /// will wake whom it finds waiting.
    fn step(&mut self) -> Poll<Step<B>> {
        if let Some(data) = self.recording.read() {
            return Poll::Ready(Step::Yield(Some(Ok(Frame::data(data)))));
        }
        let frame = match &mut self.tail {
            Tail::Open if self.polling => return Poll::Pending,
            Tail::Open => match self.source.take() {
                Some(source) => {
                    self.polling = true;
                    return Poll::Ready(Step::Poll(source));
                }
                None => Some(Err(RequestBodyError::lost())),
            },
            Tail::Trailers(trailers) => {
                let trailers = std::mem::take(trailers);
                let again = self.recording.stopped().is_none().then(|| trailers.clone());
                self.tail = Tail::End(again);
                Some(Ok(Frame::trailers(trailers)))
            }
            Tail::End(_) => None,
            Tail::Failed(error) => Some(Err(RequestBodyError::source(error.take()))),
            Tail::Lost => Some(Err(RequestBodyError::lost())),
        };
        Poll::Ready(Step::Yield(frame))
    }

    /// Whether the live reader has read all there is. It lets go of the body then.
    fn end_view(&mut self) -> bool {
        let has_ended = matches!(self.tail, Tail::End(_)) && !self.recording.has_unread();
        self.live &= !has_ended;
        has_ended
    }

    /// What the live reader got from the source.
    fn record_read(
        &mut self,
        frame: Option<Result<Frame<Bytes>, BoxError>>,
    ) -> Option<Result<Frame<Bytes>, RequestBodyError>> {
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.recording.push_read(data);
                } else if let Some(trailers) = frame.trailers_ref() {
                    let again = self.recording.stopped().is_none();
                    self.tail = Tail::End(again.then(|| trailers.clone()));
                }
            }
            Some(Err(_)) => self.tail = Tail::Failed(None),
            None => {}
        }
        frame.map(|frame| frame.map_err(|error| RequestBodyError::source(Some(error))))
    }

    /// What a superseded reader got from the source, for the live one.
    fn record_unread(&mut self, frame: Option<Result<Frame<Bytes>, BoxError>>) {
        if self.is_abandoned() {
            return;
        }
        match frame.map(|frame| frame.map(Frame::into_data)) {
            None => {}
            Some(Err(error)) => self.tail = Tail::Failed(Some(error)),
            Some(Ok(Ok(data))) => self.recording.push_unread(data),
            Some(Ok(Err(frame))) => {
                if let Ok(trailers) = frame.into_trailers() {
                    self.tail = Tail::Trailers(trailers);
                }
            }
        }
    }
}

/// The source, while a reader polls it. If that panics, the source is gone: later readers get an error.
struct Borrowed<'a, B> {
    buffer: &'a ReplayBuffer<B>,
    source: Option<B>,
}

impl<'a, B> Borrowed<'a, B> {
    fn new(buffer: &'a ReplayBuffer<B>, source: B) -> Self {
        Self {
            buffer,
            source: Some(source),
        }
    }

    fn get(&mut self) -> &mut B {
        self.source.as_mut().expect("taken as it is settled")
    }

    /// Puts the source back, with what came of it, and says whether the reader has now read all.
    fn settle(
        mut self,
        generation: u32,
        polled: Poll<Option<Result<Frame<Bytes>, B::Error>>>,
        cx: &Context<'_>,
    ) -> (Polled, bool)
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let fresh = polled.is_pending().then(|| cx.waker().clone());
        let goes_on = match &polled {
            Poll::Pending => true,
            Poll::Ready(Some(Ok(frame))) => !frame.is_trailers() && !self.get().is_end_stream(),
            Poll::Ready(Some(Err(_)) | None) => false,
        };
        let polled = polled.map(|frame| frame.map(|frame| frame.map_err(Into::into)));

        let mut source = self.source.take();
        let mut state = self.buffer.lock();
        state.polling = false;
        if !goes_on {
            state.tail = Tail::End(None);
        } else if !state.is_abandoned() {
            state.source = source.take();
        }
        let (waker, answer, has_ended);
        let is_live = state.generation == generation;
        if is_live {
            waker = std::mem::replace(&mut state.waker, fresh);
            answer = polled.map(|frame| state.record_read(frame));
            has_ended = state.end_view();
        } else {
            waker = state.waker.take();
            if let Poll::Ready(frame) = polled {
                state.record_unread(frame);
            }
            answer = Poll::Ready(Some(Err(RequestBodyError::superseded())));
            has_ended = false;
        }
        drop(state);
        drop(source);
        match waker {
            Some(waker) if !is_live => waker.wake(),
            stale => drop(stale),
        }
        (answer, has_ended)
    }
}

impl<B> Drop for Borrowed<'_, B> {
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

impl<B> fmt::Debug for Reader<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}
