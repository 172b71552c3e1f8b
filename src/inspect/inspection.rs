//! A response body whose start is read for the policy, and which can be forwarded completely afterwards.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use super::decode::decode;
use super::key_removal::remove_from_headers;
use crate::key_search::KeySearch;
use crate::policy::{BodyEvidence, ReadLimit, ReadUntil};
use crate::sse::FirstEvent;

/// The policy sees at most this many bytes of a decoded body.
const MAX_BYTES: usize = 64 * 1024;
/// The number of frames that are read at most. A limit in bytes does not count empty frames.
const MAX_FRAMES: usize = 2 * MAX_BYTES;

pin_project! {
    /// A body, and what was read of it.
    ///
    /// As a [`Body`] it is complete again: it yields what was read, then an error that occurred
    /// meanwhile, then the rest.
    pub(crate) struct Inspection<R>
    where
        R: Body,
    {
        #[pin]
        body: R,
        // Set when the body is pending, so that a body that has arrived needs no timer.
        #[pin]
        deadline: Option<Sleep>,
        limit: ReadLimit,
        data: BytesMut,
        event: FirstEvent,
        frames: usize,
        trailers: Option<HeaderMap>,
        error: Option<R::Error>,
        ended: bool,
    }
}

impl<R> Inspection<R>
where
    R: Body<Data = Bytes>,
{
    pub(crate) fn new(body: R, limit: ReadLimit) -> Self {
        Self {
            body,
            deadline: None,
            limit,
            data: BytesMut::new(),
            event: FirstEvent::default(),
            frames: 0,
            trailers: None,
            error: None,
            ended: false,
        }
    }

    /// Reads until the limit.
    ///
    /// # Panics
    ///
    /// Panics if the body is pending outside a tokio runtime with time enabled.
    pub(crate) fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        while !self.as_mut().has_enough() {
            if self.as_mut().poll_one(cx).is_ready() {
                continue;
            }
            let mut this = self.project();
            if this.limit.time().is_zero() {
                return Poll::Ready(());
            }
            if this.deadline.is_none() {
                this.deadline.set(Some(sleep(this.limit.time())));
            }
            let deadline = this.deadline.as_pin_mut().expect("just set");
            return deadline.poll(cx);
        }
        self.project().deadline.set(None);
        Poll::Ready(())
    }

    fn has_enough(self: Pin<&mut Self>) -> bool {
        let is_over = self.is_over();
        let this = self.project();
        is_over
            || *this.frames >= MAX_FRAMES
            || this.data.len() >= this.limit.bytes()
            || match this.limit.until() {
                ReadUntil::End => false,
                ReadUntil::FirstFrame => *this.frames > 0,
                ReadUntil::FirstEvent | ReadUntil::CommitGate => this.event.is_complete(this.data),
            }
    }

    /// Whether nothing was read.
    pub(crate) fn is_unread(&self) -> bool {
        self.data.is_empty() && self.trailers.is_none()
    }

    fn poll_one(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let frame = std::task::ready!(this.body.poll_frame(cx));
        *this.frames += 1;
        match frame.map(|frame| frame.map(Frame::into_data)) {
            None => *this.ended = true,
            Some(Err(error)) => *this.error = Some(error),
            Some(Ok(Ok(data))) if this.data.is_empty() => *this.data = data.into(),
            Some(Ok(Ok(data))) => this.data.extend_from_slice(&data),
            Some(Ok(Err(frame))) => *this.trailers = frame.into_trailers().ok(),
        }
        Poll::Ready(())
    }

    /// Whether nothing more can be read.
    fn is_over(&self) -> bool {
        self.ended || self.error.is_some() || self.trailers.is_some()
    }

    /// Passes the decoded evidence to `look`.
    pub(crate) fn show<T>(
        &self,
        headers: &HeaderMap,
        look: impl FnOnce(&BodyEvidence<'_>) -> T,
    ) -> T {
        let decoded = decode(headers, &self.data, MAX_BYTES);
        let read_all = self.ended || self.trailers.is_some() || self.body.is_end_stream();
        let mut evidence = match &decoded {
            Some(decoded) if read_all && decoded.is_complete => {
                BodyEvidence::complete(&decoded.bytes)
            }
            Some(decoded) => BodyEvidence::partial(&decoded.bytes),
            None => BodyEvidence::unreadable(),
        };
        if let Some(trailers) = &self.trailers {
            evidence = evidence.with_trailers(trailers);
        }
        look(&evidence)
    }

    /// Removes the trailers that contain the key. Removes everything else if the body contains it:
    /// what was read and what is still to come. Returns whether it did.
    #[must_use]
    pub(crate) fn remove_key(
        self: Pin<&mut Self>,
        headers: &HeaderMap,
        search: KeySearch<'_>,
    ) -> bool {
        let is_over = self.is_over();
        let this = self.project();
        if let Some(trailers) = this.trailers {
            remove_from_headers(trailers, search);
        }
        let decoded = decode(headers, this.data, MAX_BYTES);
        let (text, is_whole) = match &decoded {
            Some(decoded) => (&*decoded.bytes, is_over && decoded.is_complete),
            None => (&this.data[..], is_over),
        };
        let is_found = match is_whole {
            true => search.finds_in(text),
            false => search.finds_in_start(text),
        };
        if is_found {
            this.data.clear();
            *this.error = None;
            *this.ended = true;
        }
        is_found
    }
}

impl<R> Body for Inspection<R>
where
    R: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        let this = self.project();
        if !this.data.is_empty() {
            let data = this.data.split().freeze();
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if let Some(error) = this.error.take() {
            *this.ended = true;
            return Poll::Ready(Some(Err(error)));
        }
        if let Some(trailers) = this.trailers.take() {
            *this.ended = true;
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if *this.ended {
            return Poll::Ready(None);
        }
        this.body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty()
            && self.error.is_none()
            && self.trailers.is_none()
            && (self.ended || self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.data.len() as u64;
        let rest = if self.is_over() {
            SizeHint::with_exact(0)
        } else {
            self.body.size_hint()
        };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint
    }
}
