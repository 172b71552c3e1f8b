//! The start of a body, until its model is known.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::RequestBody;
use super::field_end::FieldEnd;
use super::model_field::{self, Model};
use crate::pool::Scope;

/// How much of a body is read at most.
pub(super) const LIMIT: usize = 64 * 1024;

/// How many frames one poll reads at most, so that a caller with many small frames does not occupy
/// its thread.
const FRAMES_PER_POLL: usize = 32;

pub(super) struct Start<B: Body> {
    body: B,
    /// What was read, except for `next`. The capacity never exceeds the limit.
    pub(super) read: Vec<u8>,
    /// How much of it was parsed.
    pub(super) parsed: usize,
    field_end: FieldEnd,
    /// The frame or the error that was read last.
    next: Option<Result<Frame<Bytes>, B::Error>>,
    has_ended: bool,
}

impl<B: Body> Start<B> {
    pub(super) fn new(body: B) -> Self {
        Self {
            body,
            read: Vec::new(),
            parsed: 0,
            field_end: FieldEnd::default(),
            next: None,
            has_ended: false,
        }
    }

    /// The body, with what was read in front of it.
    pub(super) fn into_body(self) -> RequestBody<B> {
        RequestBody::new(self.read.into(), self.next, self.body, self.has_ended)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Start<B> {
    /// Reads until the scope is known, if there is one.
    ///
    /// A poll after it has returned the scope would lose data.
    pub(super) fn poll_scope(&mut self, cx: &mut Context<'_>) -> Poll<Option<Scope>> {
        for _ in 0..FRAMES_PER_POLL {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            let data = match frame {
                None => {
                    self.has_ended = true;
                    return Poll::Ready(self.scope_at_end());
                }
                Some(Err(error)) => {
                    self.next = Some(Err(error));
                    return Poll::Ready(self.scope_at_end());
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(trailers) => {
                        self.next = Some(Ok(trailers));
                        return Poll::Ready(self.scope_at_end());
                    }
                },
            };
            if let Model::Known(scope) = self.push(data) {
                return Poll::Ready(scope);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn push(&mut self, mut data: Bytes) -> Model {
        // Most often, the first frame contains the model. It is not copied.
        if self.read.is_empty() {
            let start = &data[..data.len().min(LIMIT)];
            let model = model_field::find(start);
            if matches!(model, Model::Known(_)) || data.len() >= LIMIT {
                self.next = Some(Ok(Frame::data(data)));
                return model.or_none();
            }
            self.parsed = data.len();
            self.append(&data);
            // What it contains was just parsed.
            self.field_end.find(&self.read);
            return model;
        }
        let part = data.split_to(data.len().min(LIMIT - self.read.len()));
        self.append(&part);
        let is_full = self.read.len() == LIMIT;
        // Parsing starts over each time. The field is complete once, and everything is parsed again when there is
        // twice as much, to find errors. All parses together take linear time.
        let end = match self.field_end.find(&self.read) {
            Some(end) if !is_full => end,
            _ if is_full || self.read.len() >= 2 * self.parsed => self.read.len(),
            _ => return Model::Incomplete,
        };
        self.parsed = self.read.len();
        let model = model_field::find(&self.read[..end]);
        if !data.is_empty() {
            self.next = Some(Ok(Frame::data(data)));
        }
        if is_full { model.or_none() } else { model }
    }

    fn append(&mut self, data: &[u8]) {
        let len = self.read.len() + data.len();
        if len > self.read.capacity() {
            let capacity = len.next_power_of_two();
            self.read.reserve_exact(capacity - self.read.len());
        }
        self.read.extend_from_slice(data);
    }

    /// The scope, if nothing more arrives.
    fn scope_at_end(&self) -> Option<Scope> {
        if self.parsed == self.read.len() {
            return None;
        }
        match model_field::find(&self.read) {
            Model::Known(scope) => scope,
            Model::Incomplete => None,
        }
    }
}
