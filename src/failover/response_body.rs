use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::info::FailoverInfo;
use crate::inspect::Inspection;

pin_project! {
    /// The response body that the caller gets: the provider's, streamed through, or this layer's own
    /// answer when no key is left.
    ///
    /// A forwarded body is always whole: what was read of it to judge the answer is put back in
    /// front, and an error that was met while reading follows it in its place.
    pub struct ResponseBody<R>
    where
        R: Body,
    {
        #[pin]
        answer: BodyKind<R>,
        failover: Option<FailoverInfo>,
    }
}

pin_project! {
    /// An answer's body, before anything is said of how it came about.
    #[project = BodyKindProj]
    pub(super) enum BodyKind<R>
    where
        R: Body,
    {
        Upstream { #[pin] body: R },
        // Boxed, since it was pinned while it was read and has to move on. That is also why the
        // type asks for `R: Body`: it may hold an `R::Error`.
        Inspected { body: Pin<Box<Inspection<R>>> },
        Own { data: Bytes },
    }
}

impl<R: Body> ResponseBody<R> {
    /// The answer of a request that was not ours to exchange.
    pub(super) fn untouched(body: R) -> Self {
        Self {
            answer: BodyKind::Upstream { body },
            failover: None,
        }
    }

    /// How this answer came about. `None` where the request was not ours to exchange: it brought its own
    /// key, or there is no pool.
    pub fn failover(&self) -> Option<&FailoverInfo> {
        self.failover.as_ref()
    }
}

impl<R: Body> BodyKind<R> {
    pub(super) fn with_failover(self, failover: FailoverInfo) -> ResponseBody<R> {
        ResponseBody {
            answer: self,
            failover: Some(failover),
        }
    }
}

impl<R: Body<Data = Bytes>> BodyKind<R> {
    /// Overwrites `secret` in what was inspected; `false` if it stands where it cannot be.
    #[must_use]
    pub(super) fn redact(&mut self, headers: &HeaderMap, secret: &str, is_refusal: bool) -> bool {
        match self {
            Self::Inspected { body } => body.as_mut().redact(headers, secret, is_refusal),
            Self::Upstream { .. } | Self::Own { .. } => true,
        }
    }

    /// Reads off what has already arrived, so that the connection can be used again. Never waits.
    pub(super) fn drain(mut self: Pin<&mut Self>, cx: &mut Context<'_>) {
        const MAX_BYTES: usize = 64 * 1024;
        const MAX_FRAMES: usize = 1024;

        let mut bytes = 0;
        for _ in 0..MAX_FRAMES {
            match self.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => bytes += frame.data_ref().map_or(0, Bytes::len),
                Poll::Ready(Some(Err(_)) | None) | Poll::Pending => return,
            }
            if bytes >= MAX_BYTES {
                return;
            }
        }
    }
}

impl<R: Body<Data = Bytes>> Body for BodyKind<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        match self.project() {
            BodyKindProj::Upstream { body } => body.poll_frame(cx),
            BodyKindProj::Inspected { body } => body.as_mut().poll_frame(cx),
            BodyKindProj::Own { data } if data.is_empty() => Poll::Ready(None),
            BodyKindProj::Own { data } => Poll::Ready(Some(Ok(Frame::data(std::mem::take(data))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Upstream { body } => body.is_end_stream(),
            Self::Inspected { body } => body.is_end_stream(),
            Self::Own { data } => data.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Upstream { body } => body.size_hint(),
            Self::Inspected { body } => body.size_hint(),
            Self::Own { data } => SizeHint::with_exact(data.len() as u64),
        }
    }
}

impl<R: Body<Data = Bytes>> Body for ResponseBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        self.project().answer.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }
}

impl<R: Body + Default> Default for ResponseBody<R> {
    fn default() -> Self {
        Self::untouched(R::default())
    }
}

impl<R: Body> fmt::Debug for ResponseBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.answer {
            BodyKind::Upstream { .. } => "upstream",
            BodyKind::Inspected { .. } => "inspected",
            BodyKind::Own { .. } => "own",
        };
        f.debug_struct("ResponseBody")
            .field("kind", &kind)
            .field("failover", &self.failover)
            .finish_non_exhaustive()
    }
}
