use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::attempt::Attempt;
use crate::BoxError;
use crate::replay::{Reader, RequestBodyError};

/// The request body that the inner service gets: the caller's, streamed through.
///
/// Where another key could follow, what passes is recorded, so that the next attempt can send it
/// again and then go on with the caller's body. Of several attempts' bodies only the latest yields
/// anything: a superseded one fails with an error that says so
/// ([`RequestBodyError::is_superseded`]), and never ends as if it were complete.
///
/// A length is told only if the caller's body told one, so that a chunked upload stays chunked.
pub struct RequestBody<B> {
    kind: Kind<B>,
    attempt: Option<Attempt>,
}

enum Kind<B> {
    /// Nothing can follow: the caller's body itself.
    Direct(B),
    Recorded(Reader<B>),
    Superseded,
}

impl<B> RequestBody<B> {
    /// The caller's own request: no key of ours.
    pub(super) fn untouched(body: B) -> Self {
        Self {
            kind: Kind::Direct(body),
            attempt: None,
        }
    }

    /// The only attempt, or the last that was foreseen.
    pub(super) fn direct(body: B, attempt: Attempt) -> Self {
        Self {
            kind: Kind::Direct(body),
            attempt: Some(attempt),
        }
    }

    pub(super) fn recorded(reader: Reader<B>, attempt: Attempt) -> Self {
        Self {
            kind: Kind::Recorded(reader),
            attempt: Some(attempt),
        }
    }

    /// The attempt that this body belongs to: its number and its key, for request signers and the
    /// like. `None` where the request is not ours to exchange: it brought its own key, or there is no
    /// pool.
    pub fn attempt(&self) -> Option<&Attempt> {
        self.attempt.as_ref()
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let polled = match &mut self.kind {
            Kind::Direct(body) => {
                return Pin::new(body)
                    .poll_frame(cx)
                    .map_err(|error| RequestBodyError::source(Some(error.into())));
            }
            Kind::Recorded(reader) => reader.poll_frame(cx),
            Kind::Superseded => Poll::Ready(Some(Err(RequestBodyError::superseded()))),
        };
        if matches!(&polled, Poll::Ready(Some(Err(error))) if error.is_superseded()) {
            // Keeps nothing alive while the client still holds it.
            self.kind = Kind::Superseded;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Direct(body) => body.is_end_stream(),
            Kind::Recorded(reader) => reader.is_end_stream(),
            Kind::Superseded => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Direct(body) => body.size_hint(),
            Kind::Recorded(reader) => reader.size_hint(),
            Kind::Superseded => SizeHint::default(),
        }
    }
}

impl<B> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Direct(_) => "direct",
            Kind::Recorded(_) => "recorded",
            Kind::Superseded => "superseded",
        };
        f.debug_struct("RequestBody")
            .field("kind", &kind)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
