use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// A request body whose start may have been read.
    ///
    /// It yields the same data, trailers and errors as the original body, and has the same length. Frames that were
    /// read may be merged. Name the type if the inner service needs it:
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http_body_util::Full;
    /// use hyper_util::client::legacy::{Client, connect::HttpConnector};
    /// use tower_key_failover::{RequestBody, model_scope};
    ///
    /// /// A client below `ModelScopeLayer` and `KeyFailoverLayer`.
    /// type Attempts = Client<HttpConnector, RequestBody<model_scope::RequestBody<Full<Bytes>>>>;
    /// ```
    pub struct RequestBody<B>
    where
        B: Body,
    {
        pub(super) read: Bytes,
        // The frame or the error that follows.
        pub(super) next: Option<Result<Frame<Bytes>, B::Error>>,
        #[pin]
        rest: B,
        has_ended: bool,
    }
}

impl<B: Body> RequestBody<B> {
    pub(super) fn new(
        read: Bytes,
        next: Option<Result<Frame<Bytes>, B::Error>>,
        rest: B,
        has_ended: bool,
    ) -> Self {
        Self {
            read,
            next,
            rest,
            has_ended,
        }
    }

    /// Wraps a body of which nothing has been read, for a service that is also called without
    /// [`ModelScope`](super::ModelScope).
    pub fn unread(body: B) -> Self {
        Self::new(Bytes::new(), None, body, false)
    }
}

impl<B: Body<Data = Bytes>> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if !this.read.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(mem::take(this.read)))));
        }
        if let Some(next) = this.next.take() {
            return Poll::Ready(Some(next));
        }
        if *this.has_ended {
            return Poll::Ready(None);
        }
        this.rest.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        let is_over = self.has_ended || self.rest.is_end_stream();
        self.read.is_empty() && self.next.is_none() && is_over
    }

    fn size_hint(&self) -> SizeHint {
        let next = self.next.as_ref().and_then(|next| next.as_ref().ok());
        let next = next.and_then(Frame::data_ref).map_or(0, Bytes::len);
        let held = (self.read.len() + next) as u64;
        let rest = if self.has_ended {
            SizeHint::with_exact(0)
        } else {
            self.rest.size_hint()
        };
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint.set_lower(rest.lower().saturating_add(held));
        hint
    }
}

impl<B: Body> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("read", &self.read.len())
            .finish_non_exhaustive()
    }
}
