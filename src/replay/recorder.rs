use std::fmt;

use http::request;
use http_body::Body;

use super::budget::ReplayBudget;
use super::buffer::{NotReplayable, ReplayBuffer};
use super::reader::Reader;
use super::recorded_head::RecordedHead;
use crate::sync::Arc;

/// Records a request, and replays it for further attempts.
///
/// Dropping it ends the recording. What is recorded is then freed as the live reader reads it.
pub(crate) struct Recorder<B> {
    /// `None` once recording has ended.
    buffer: Option<Arc<ReplayBuffer<B>>>,
}

impl<B: Body> Recorder<B> {
    /// Starts a recording of at most `limit` bytes. Returns the reader for the first attempt.
    pub(crate) fn start(
        head: &request::Parts,
        body: B,
        limit: usize,
        budget: ReplayBudget,
    ) -> (Self, Reader<B>) {
        let buffer = Arc::new(ReplayBuffer::new(head, body, limit, budget));
        let reader = Reader::new(&buffer, 0);
        let buffer = Some(buffer);
        (Self { buffer }, reader)
    }
}

impl<B> Recorder<B> {
    /// Ends the recording. Returns why the request could not be replayed until now.
    pub(crate) fn end(&mut self) -> Option<NotReplayable> {
        self.buffer.take().and_then(ReplayBuffer::end)
    }

    /// Takes the body away from the current attempt.
    ///
    /// This happens as soon as the attempt is refused, not when the next one starts. Otherwise the
    /// refused attempt could read more than can be recorded, and the next one would lack it.
    ///
    /// # Errors
    ///
    /// Fails if the request cannot be replayed. In that case, the current attempt keeps the body.
    pub(crate) fn supersede(&self) -> Result<(), NotReplayable> {
        let mut state = self.buffer().lock();
        if let Some(why) = state.not_replayable() {
            return Err(why);
        }
        let waker = state.supersede();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// The head and the reader for the next attempt, after [`supersede`](Self::supersede).
    pub(crate) fn replay(&self) -> (request::Parts, Reader<B>) {
        let (mut recorded, reader) = self.reader();
        // Cloned outside the lock, since cloning extensions runs foreign code.
        let head = recorded.clone_parts();
        self.buffer().lock().head = Some(recorded);
        (head, reader)
    }

    /// The head and the reader for the last attempt, after [`supersede`](Self::supersede). Nothing
    /// is recorded any more.
    pub(crate) fn replay_last(self) -> (request::Parts, Reader<B>) {
        let (recorded, reader) = self.reader();
        (recorded.into_parts(), reader)
    }

    fn reader(&self) -> (RecordedHead, Reader<B>) {
        let buffer = self.buffer();
        let mut state = buffer.lock();
        state.live = !buffer.is_empty;
        let head = state.head.take();
        let generation = state.generation;
        drop(state);
        (
            head.expect("the head is recorded while there is a recorder"),
            Reader::new(buffer, generation),
        )
    }

    fn buffer(&self) -> &Arc<ReplayBuffer<B>> {
        self.buffer.as_ref().expect("only the end takes it")
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
