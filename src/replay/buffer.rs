//! A request body that is recorded while it is sent.
//!
//! The caller's body (the *source*) streams through the buffer. Each attempt has a
//! [`Reader`](super::Reader), which first yields what is recorded and then polls the source.
//! Clients may hold and poll the body of a refused attempt for a while, so several readers can
//! exist. Only the *live* reader, that of the latest attempt, gets data. A superseded reader gets an
//! error instead of an end, because a truncated body must not look complete.
//!
//! The source is polled outside the lock. Wakers are cloned, dropped and woken outside it, too.

use std::sync::PoisonError;
use std::task::{Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, request};
use http_body::{Body, Frame, SizeHint};

use super::budget::ReplayBudget;
use super::error::RequestBodyError;
use super::recorded_head::RecordedHead;
use super::recording::{Recording, Stopped};
use super::small_frames::room_for_first;
use crate::sync::{Arc, Mutex, MutexGuard};

pub(super) struct ReplayBuffer<B> {
    /// The size hint of the source at the start. Each attempt gets the same framing.
    pub(super) hint: SizeHint,
    /// Whether the source announced at the start that it is empty.
    pub(super) is_empty: bool,
    state: Mutex<State<B>>,
}

pub(super) struct State<B> {
    /// How many readers were superseded. The reader of the current generation is live, if it exists.
    pub(super) generation: u32,
    /// Whether the live reader exists and has not read everything.
    pub(super) live: bool,
    /// The head to send again, while that is possible. It never holds a key of the pool.
    pub(super) head: Option<RecordedHead>,
    pub(super) recording: Recording,
    /// The caller's body. Absent once it has ended, and while a reader polls it.
    pub(super) source: Option<B>,
    pub(super) polling: bool,
    pub(super) tail: Tail,
    /// The task of the live reader, if it waits.
    pub(super) waker: Option<Waker>,
}

/// How the source ended. This applies after everything that is recorded.
pub(super) enum Tail {
    /// It has not ended.
    Open,
    /// It has ended with trailers that the live reader has not read.
    Trailers(HeaderMap),
    /// It has ended, and the live reader has read the end. The next reader gets these trailers.
    End(Option<HeaderMap>),
    /// It failed. One reader gets the error itself.
    Failed(Option<RequestBodyError>),
    /// It panicked.
    Lost,
}

/// Why a request cannot be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotReplayable {
    TooLarge,
    OverBudget,
    BodyFailed,
}

/// What a reader does next.
pub(super) enum Step<B> {
    Yield(Option<Result<Frame<Bytes>, RequestBodyError>>),
    Poll(B),
}

impl<B: Body> ReplayBuffer<B> {
    pub(super) fn new(
        head: &request::Parts,
        source: B,
        limit: usize,
        budget: ReplayBudget,
    ) -> Self {
        let is_empty = source.is_end_stream();
        let hint = source.size_hint();
        let head = RecordedHead::new(head, room_for_first(hint.lower()));
        Self {
            hint,
            is_empty,
            state: Mutex::new(State {
                generation: 0,
                live: !is_empty,
                head: Some(head),
                recording: Recording::new(limit, budget),
                source: Some(source),
                polling: false,
                tail: Tail::Open,
                waker: None,
            }),
        }
    }
}

impl<B> ReplayBuffer<B> {
    pub(super) fn lock(&self) -> MutexGuard<'_, State<B>> {
        // Nothing panics while the lock is held. If it did, each field would still be valid.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the recording. Returns why the request could not be replayed until now.
    pub(super) fn end(mut buffer: Arc<Self>) -> Option<NotReplayable> {
        if let Some(buffer) = Arc::get_mut(&mut buffer) {
            // No reader is left, so that everything is dropped with the buffer.
            let state = buffer.state.get_mut();
            return state
                .unwrap_or_else(PoisonError::into_inner)
                .not_replayable();
        }
        let mut state = buffer.lock();
        let why = state.not_replayable();
        state.recording.stop(Stopped::Done);
        let source = if state.live { None } else { state.abandon() };
        let head = state.head.take();
        drop(state);
        drop((source, head));
        why
    }
}

impl<B> State<B> {
    pub(super) fn not_replayable(&self) -> Option<NotReplayable> {
        match (&self.tail, self.recording.stopped()) {
            (Tail::Failed(_) | Tail::Lost, _) => Some(NotReplayable::BodyFailed),
            (_, Some(Stopped::TooLarge)) => Some(NotReplayable::TooLarge),
            (_, Some(Stopped::OverBudget)) => Some(NotReplayable::OverBudget),
            (_, None | Some(Stopped::Done)) => None,
        }
    }

    /// Makes the live reader a superseded one. The next reader starts at the beginning.
    ///
    /// Returns the waker of the reader, to be woken outside the lock.
    pub(super) fn supersede(&mut self) -> Option<Waker> {
        self.generation += 1;
        self.live = false;
        if let Tail::End(trailers) = &mut self.tail {
            self.tail = match trailers.take() {
                Some(trailers) => Tail::Trailers(trailers),
                None => Tail::End(None),
            };
        }
        self.recording.rewind(self.head.as_mut());
        self.waker.take()
    }

    /// Frees what nobody will read. Returns the source, to be dropped outside the lock.
    pub(super) fn abandon(&mut self) -> Option<B> {
        self.recording.clear();
        self.source.take()
    }

    /// Whether nobody will read any more.
    pub(super) fn is_abandoned(&self) -> bool {
        !self.live && self.recording.stopped().is_some()
    }

    /// The next step of the live reader. Pending while a superseded reader polls the source, which
    /// then wakes the live one.
    pub(super) fn step(&mut self) -> Poll<Step<B>> {
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
            Tail::Failed(error) => {
                let error = error.take();
                Some(Err(error.unwrap_or_else(|| RequestBodyError::source(None))))
            }
            Tail::Lost => Some(Err(RequestBodyError::lost())),
        };
        Poll::Ready(Step::Yield(frame))
    }

    /// Whether the live reader has read everything. If so, it is no longer live.
    pub(super) fn end_reader(&mut self) -> bool {
        let has_ended = matches!(self.tail, Tail::End(_)) && !self.recording.has_unread();
        self.live &= !has_ended;
        has_ended
    }

    /// Records what the live reader got from the source.
    pub(super) fn record_read(&mut self, frame: &Result<Frame<Bytes>, RequestBodyError>) {
        match frame {
            Ok(frame) => {
                if let Some(data) = frame.data_ref() {
                    self.recording.push_read(data, self.head.as_mut());
                } else if let Some(trailers) = frame.trailers_ref() {
                    let again = self.recording.stopped().is_none();
                    self.tail = Tail::End(again.then(|| trailers.clone()));
                }
            }
            Err(_) => self.tail = Tail::Failed(None),
        }
    }

    /// Records what a superseded reader got from the source, for the live one.
    pub(super) fn record_unread(&mut self, frame: Result<Frame<Bytes>, RequestBodyError>) {
        if self.is_abandoned() {
            return;
        }
        match frame.map(Frame::into_data) {
            Err(error) => self.tail = Tail::Failed(Some(error)),
            Ok(Ok(data)) => self.recording.push_unread(data),
            Ok(Err(frame)) => {
                if let Ok(trailers) = frame.into_trailers() {
                    self.tail = Tail::Trailers(trailers);
                }
            }
        }
    }
}
