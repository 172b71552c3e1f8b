use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::info::FailoverInfo;
use super::late_success::LateSuccess;
use super::watched_body::WatchedBody;
use crate::inspect::{Inspection, remove_from_headers};
use crate::key_search::KeySearch;
use crate::pool::InFlight;

pin_project! {
    /// Response body of [`KeyFailover`](crate::KeyFailover), which the caller gets.
    ///
    /// It streams the provider's body, or yields the layer's own response if no key is left.
    ///
    /// A forwarded body is always complete. If the layer read the start of it to judge the response,
    /// the body yields that start first. An error that occurred while reading follows after it.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::Response;
    /// use http_body::Body;
    /// use tower_key_failover::ResponseBody;
    ///
    /// fn attempts<R: Body>(response: &Response<ResponseBody<R>>) -> usize {
    ///     response.body().failover().map_or(1, |info| info.attempts())
    /// }
    /// ```
    pub struct ResponseBody<R>
    where
        R: Body,
    {
        #[pin]
        kind: BodyKind<R>,
        failover: Option<FailoverInfo>,
    }
}

pin_project! {
    /// A response body without the report on how the response came about.
    #[project = BodyKindProj]
    pub(super) enum BodyKind<R>
    where
        R: Body,
    {
        Upstream { #[pin] body: R },
        // Boxed, since it was pinned while it was read and moves afterwards. It can hold an
        // `R::Error`, which is why the type requires `R: Body`.
        Inspected { body: Pin<Box<Inspection<R>>> },
        Own { data: Bytes },
        // Boxed, since it is rare and every response would carry the space for it.
        Watched { body: Pin<Box<WatchedBody<R>>> },
    }
}

impl<R: Body> ResponseBody<R> {
    /// The response to a request that passed untouched.
    pub(super) fn untouched(body: R) -> Self {
        Self {
            kind: BodyKind::Upstream { body },
            failover: None,
        }
    }

    /// Returns how this response came about.
    ///
    /// Returns `None` if the request brought its own key or the layer has no pool.
    pub fn failover(&self) -> Option<&FailoverInfo> {
        self.failover.as_ref()
    }
}

impl<R: Body> BodyKind<R> {
    /// The body, which something depends on.
    pub(super) fn watched(
        self,
        late_success: Option<LateSuccess>,
        in_flight: Option<InFlight>,
    ) -> Self {
        Self::Watched {
            body: Box::pin(WatchedBody::new(self, late_success, in_flight)),
        }
    }

    pub(super) fn with_failover(self, failover: FailoverInfo) -> ResponseBody<R> {
        ResponseBody {
            kind: self,
            failover: Some(failover),
        }
    }
}

impl<R: Body<Data = Bytes>> BodyKind<R> {
    /// Removes the body if what was inspected of it contains the key, and returns whether it did.
    #[must_use]
    pub(super) fn remove_key(&mut self, headers: &HeaderMap, search: KeySearch<'_>) -> bool {
        match self {
            Self::Inspected { body } => body.as_mut().remove_key(headers, search),
            Self::Upstream { .. } | Self::Own { .. } | Self::Watched { .. } => false,
        }
    }

    /// Reads what has already arrived, so that the connection can be used again. Never waits.
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
            BodyKindProj::Watched { body } => body.as_mut().poll_frame(cx),
            BodyKindProj::Own { data } if data.is_empty() => Poll::Ready(None),
            BodyKindProj::Own { data } => Poll::Ready(Some(Ok(Frame::data(std::mem::take(data))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Upstream { body } => body.is_end_stream(),
            Self::Inspected { body } => body.is_end_stream(),
            Self::Own { data } => data.is_empty(),
            Self::Watched { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Upstream { body } => body.size_hint(),
            Self::Inspected { body } => body.size_hint(),
            Self::Own { data } => SizeHint::with_exact(data.len() as u64),
            Self::Watched { body } => body.size_hint(),
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
        let this = self.project();
        let mut polled = this.kind.poll_frame(cx);
        // Trailers of a body that streams arrive too late to be inspected with it.
        if let (Poll::Ready(Some(Ok(frame))), Some(failover)) = (&mut polled, this.failover)
            && let Some(trailers) = frame.trailers_mut()
        {
            for attempt in failover.history() {
                remove_from_headers(trailers, attempt.key().search());
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.kind.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.kind.size_hint()
    }
}

/// An empty body, whatever `R` is. Layers such as `tower_http`'s timeout need one for their own responses.
impl<R: Body> Default for ResponseBody<R> {
    fn default() -> Self {
        let data = Bytes::new();
        Self {
            kind: BodyKind::Own { data },
            failover: None,
        }
    }
}

impl<R: Body> fmt::Debug for ResponseBody<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            BodyKind::Upstream { .. } => "upstream",
            BodyKind::Inspected { .. } => "inspected",
            BodyKind::Own { .. } => "own",
            BodyKind::Watched { .. } => "watched",
        };
        f.debug_struct("ResponseBody")
            .field("kind", &kind)
            .field("failover", &self.failover)
            .finish_non_exhaustive()
    }
}
