//! One request, kept while it is sent so that it can be sent again.
//!
//! The caller's body (the *source*) streams through the tape: each attempt reads a [`View`] of
//! it, which yields what was recorded and then polls the source on. Views of refused attempts stay
//! around, since a client may hold and poll a refused attempt's body for a while: only the *live*
//! view, that of the latest attempt, gets anything. A superseded one gets an error, never an end:
//! a body that was cut short must not look complete.
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
/// freed as the live view reads it.
pub(crate) struct Recorder<B> {
    tape: Arc<Tape<B>>,
    has_ended: bool,
}

struct Tape<B> {
    state: Mutex<State<B>>,
}

struct State<B> {
    /// Which view is live: the latest, or the one that is to come.
    generation: u32,
    /// Whether the live view exists, and whether it was polled.
    live: bool,
    polled: bool,
    /// The head to send again, while that is possible. It never holds a credential of ours.
    head: Option<KeptHead>,
    recording: Recording,
    /// The caller's body; absent once it has ended, and while a view polls it.
    source: Option<B>,
    polling: bool,
    tail: Tail,
    /// What the source said of itself when it was last here.
    hint: SizeHint,
    ended: bool,
    /// What it said at the first attempt: the framing that the caller chose.
    was_exact: bool,
    was_ended: bool,
    /// The live view's task, if it waits.
    waker: Option<Waker>,
}

/// How the body ended, once all that is recorded has been read.
enum Tail {
    /// It has not ended.
    Open,
    /// It has ended, with trailers that the live view is still to get.
    Trailers(HeaderMap),
    /// It has ended, and the live view knows. The trailers are for the view after it.
    End(Option<HeaderMap>),
    /// It failed; the error is there until a view gets it.
    Failed(Option<BoxError>),
    /// It panicked.
    Lost,
}

/// Why the request cannot be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unrepeatable {
    TooLarge,
    OverBudget,
    BodyFailed,
}

impl<B: Body> Recorder<B> {
    /// Begins a tape, and its first view.
    pub(crate) fn start(
        head: &request::Parts,
        body: B,
        limit: usize,
        budget: ReplayBudget,
    ) -> (Self, View<B>) {
        let (hint, ended) = (body.size_hint(), body.is_end_stream());
        let tape = Arc::new(Tape {
            state: Mutex::new(State {
                generation: 0,
                live: true,
                polled: false,
                head: Some(KeptHead::of(head)),
                recording: Recording::new(limit, budget),
                source: Some(body),
                polling: false,
                tail: Tail::Open,
                was_exact: hint.exact().is_some(),
                was_ended: ended,
                hint,
                ended,
                waker: None,
            }),
        });
        let view = View {
            tape: Arc::clone(&tape),
            generation: 0,
        };
        let has_ended = false;
        (Self { tape, has_ended }, view)
    }
}

impl<B> Recorder<B> {
    /// Ends the recording, and says why the request could not have been sent again before.
    pub(crate) fn end(mut self) -> Option<Unrepeatable> {
        self.has_ended = true;
        self.tape.end()
    }

    /// Takes the body away from the attempt under way, unless the request cannot be sent again.
    ///
    /// At once, and not only when the next attempt begins: what the refused one read until then
    /// might be more than can be recorded, and the next one would lack it.
    pub(crate) fn supersede(&self) -> Result<(), Unrepeatable> {
        let mut state = self.tape.lock();
        if let Some(why) = state.unrepeatable() {
            return Err(why);
        }
        state.generation += 1;
        state.live = false;
        state.polled = false;
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

    /// The head, and the view for the attempt that [`supersede`](Self::supersede) made room for.
    pub(crate) fn play_again(&self) -> (request::Parts, View<B>) {
        let (kept, view) = self.view();
        // Copied outside the lock: extensions are other people's code.
        let head = kept.to_parts();
        self.tape.lock().head = Some(kept);
        (head, view)
    }

    /// The same for the last time: nothing is recorded any more.
    pub(crate) fn play_last(self) -> (request::Parts, View<B>) {
        let (kept, view) = self.view();
        (kept.to_parts(), view)
    }

    fn view(&self) -> (KeptHead, View<B>) {
        let mut state = self.tape.lock();
        state.live = true;
        let head = state.head.take();
        let generation = state.generation;
        drop(state);
        let view = View {
            tape: Arc::clone(&self.tape),
            generation,
        };
        (
            head.expect("it is kept as long as there is a recorder"),
            view,
        )
    }
}

impl<B> Drop for Recorder<B> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.tape.end();
        }
    }
}

impl<B> fmt::Debug for Recorder<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl<B> Tape<B> {
    fn lock(&self) -> MutexGuard<'_, State<B>> {
        // Nothing panics while it is held; were it otherwise, each field is still in order.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) -> Option<Unrepeatable> {
        let mut state = self.lock();
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
    fn unrepeatable(&self) -> Option<Unrepeatable> {
        match (&self.tail, self.recording.stopped()) {
            (Tail::Failed(_) | Tail::Lost, _) => Some(Unrepeatable::BodyFailed),
            (_, Some(Stopped::TooLarge)) => Some(Unrepeatable::TooLarge),
            (_, Some(Stopped::OverBudget)) => Some(Unrepeatable::OverBudget),
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
pub(crate) struct View<B> {
    tape: Arc<Tape<B>>,
    generation: u32,
}

/// What a view is to do, found out under the lock.
enum Step<B> {
    Yield(Result<Frame<Bytes>, RequestBodyError>),
    End,
    Poll(B),
}

impl<B> View<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    pub(super) fn poll_frame(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let mut source = match self.step(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Step::Yield(frame)) => return Poll::Ready(Some(frame)),
            Poll::Ready(Step::End) => return Poll::Ready(None),
            Poll::Ready(Step::Poll(source)) => Borrowed::new(&self.tape, source),
        };
        let polled = Pin::new(source.get()).poll_frame(cx);
        self.settle(source, polled, cx)
    }

    /// Looks what there is to do, and parks where there is nothing.
    fn step(&self, cx: &Context<'_>) -> Poll<Step<B>> {
        let mut fresh = None;
        loop {
            let mut state = self.tape.lock();
            if let Poll::Ready(step) = state.step(self.generation) {
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

    /// Puts the source back, with what came of it.
    fn settle(
        &self,
        mut source: Borrowed<'_, B>,
        polled: Poll<Option<Result<Frame<Bytes>, B::Error>>>,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let fresh = polled.is_pending().then(|| cx.waker().clone());
        let (hint, ended) = (source.get().size_hint(), source.get().is_end_stream());
        let source = source.into_inner();
        let polled = polled.map(|frame| frame.map(|frame| frame.map_err(Into::into)));

        let mut state = self.tape.lock();
        state.polling = false;
        (state.hint, state.ended) = (hint, ended);
        let mut rest = Some(source);
        let goes_on = match &polled {
            Poll::Pending => true,
            Poll::Ready(Some(Ok(frame))) => frame.is_data(),
            Poll::Ready(Some(Err(_)) | None) => false,
        };
        if goes_on && !state.is_abandoned() {
            state.source = rest.take();
        }
        let (mut stale, mut waiting) = (None, None);
        let answer = if state.generation == self.generation {
            if let Some(waker) = fresh {
                stale = state.waker.replace(waker);
            }
            polled.map(|frame| state.record_read(frame))
        } else {
            if let Poll::Ready(frame) = polled {
                state.record_unread(frame);
            }
            waiting = state.waker.take();
            Poll::Ready(Some(Err(RequestBodyError::superseded())))
        };
        drop(state);
        drop((rest, stale));
        if let Some(waker) = waiting {
            waker.wake();
        }
        answer
    }
}

fn wakes(waker: Option<&Waker>, cx: &Context<'_>) -> bool {
    waker.is_some_and(|waker| waker.will_wake(cx.waker()))
}

impl<B> View<B> {
    pub(super) fn is_end_stream(&self) -> bool {
        let state = self.tape.lock();
        state.generation == self.generation && state.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let state = self.tape.lock();
        if state.generation == self.generation {
            state.size_hint()
        } else {
            SizeHint::default()
        }
    }
}

impl<B> Drop for View<B> {
    fn drop(&mut self) {
        let mut state = self.tape.lock();
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
    /// What there is to do for a view. Pending: another view is polling the source, and will wake
    /// whom it finds waiting.
    fn step(&mut self, generation: u32) -> Poll<Step<B>> {
        if self.generation != generation {
            return Poll::Ready(Step::Yield(Err(RequestBodyError::superseded())));
        }
        self.polled = true;
        if let Some(data) = self.recording.read() {
            return Poll::Ready(Step::Yield(Ok(Frame::data(data))));
        }
        Poll::Ready(match &mut self.tail {
            Tail::Open if self.polling => return Poll::Pending,
            Tail::Open => match self.source.take() {
                Some(source) => {
                    self.polling = true;
                    Step::Poll(source)
                }
                None => Step::Yield(Err(RequestBodyError::lost())),
            },
            Tail::Trailers(trailers) => {
                let trailers = std::mem::take(trailers);
                let again = self.recording.stopped().is_none().then(|| trailers.clone());
                self.tail = Tail::End(again);
                Step::Yield(Ok(Frame::trailers(trailers)))
            }
            Tail::End(_) => Step::End,
            Tail::Failed(error) => Step::Yield(Err(RequestBodyError::source(error.take()))),
            Tail::Lost => Step::Yield(Err(RequestBodyError::lost())),
        })
    }

    /// What the live view got from the source.
    fn record_read(
        &mut self,
        frame: Option<Result<Frame<Bytes>, BoxError>>,
    ) -> Option<Result<Frame<Bytes>, RequestBodyError>> {
        match frame {
            None => {
                self.tail = Tail::End(None);
                None
            }
            Some(Err(error)) => {
                self.tail = Tail::Failed(None);
                Some(Err(RequestBodyError::source(Some(error))))
            }
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.recording.push_read(data);
                } else if let Some(trailers) = frame.trailers_ref() {
                    let again = self.recording.stopped().is_none();
                    self.tail = Tail::End(again.then(|| trailers.clone()));
                }
                Some(Ok(frame))
            }
        }
    }

    /// What a superseded view got from the source, for the live one.
    fn record_unread(&mut self, frame: Option<Result<Frame<Bytes>, BoxError>>) {
        if self.is_abandoned() {
            return;
        }
        match frame.map(|frame| frame.map(Frame::into_data)) {
            None => self.tail = Tail::End(None),
            Some(Err(error)) => self.tail = Tail::Failed(Some(error)),
            Some(Ok(Ok(data))) => self.recording.push_unread(data),
            Some(Ok(Err(frame))) => {
                if let Ok(trailers) = frame.into_trailers() {
                    self.tail = Tail::Trailers(trailers);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        if !self.polled {
            // Known to be empty only if the caller said so: an empty chunked body stays chunked.
            return self.was_ended;
        }
        self.recording.unread() == 0
            && match &self.tail {
                Tail::Open => self.ended,
                Tail::End(_) => true,
                Tail::Trailers(_) | Tail::Failed(_) | Tail::Lost => false,
            }
    }

    fn size_hint(&self) -> SizeHint {
        let unread = self.recording.unread();
        let rest = match self.tail {
            Tail::Open => self.hint,
            _ => SizeHint::with_exact(0),
        };
        let lower = unread.saturating_add(rest.lower());
        let mut hint = SizeHint::new();
        hint.set_lower(lower);
        // A length that the caller did not tell stays untold, even once it is known.
        if self.was_exact && rest.exact().is_some() {
            hint.set_upper(lower);
        }
        hint
    }
}

/// The source, while a view polls it. If that panics, the source is gone: later views get an error.
struct Borrowed<'a, B> {
    tape: &'a Tape<B>,
    source: Option<B>,
}

impl<'a, B> Borrowed<'a, B> {
    fn new(tape: &'a Tape<B>, source: B) -> Self {
        Self {
            tape,
            source: Some(source),
        }
    }

    fn get(&mut self) -> &mut B {
        self.source.as_mut().expect("taken by `into_inner` alone")
    }

    fn into_inner(mut self) -> B {
        self.source.take().expect("taken once")
    }
}

impl<B> Drop for Borrowed<'_, B> {
    fn drop(&mut self) {
        if self.source.is_none() {
            return;
        }
        let mut state = self.tape.lock();
        state.polling = false;
        state.tail = Tail::Lost;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<B> fmt::Debug for View<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}
