use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::attempt::Attempt;
use super::request_trailers;
use crate::BoxError;
use crate::policy::ProviderPolicy;
use crate::replay::{Reader, RequestBodyError};

/// Request body that [`KeyFailover`](crate::KeyFailover) passes to the inner service.
///
/// It streams the caller's body. If another key could follow, it also records what it streams, so
/// that the next attempt can send the recording and then continue with the caller's body.
///
/// Only the body of the latest attempt yields data. The body of a refused attempt fails with an error
/// for which [`RequestBodyError::is_superseded`] returns `true`. It never ends as if it were complete.
///
/// The size hint is exact only if that of the caller's body is exact, so a chunked upload stays
/// chunked. The body removes a caller's credential from the trailers, as the layer does from the head.
///
/// # Examples
///
/// An inner service can learn which attempt it serves, for example to sign the request:
///
/// ```
/// use http::Request;
/// use tower_key_failover::RequestBody;
///
/// fn describe<B>(request: &Request<RequestBody<B>>) -> String {
///     match request.body().attempt() {
///         Some(attempt) => format!("attempt {} with key {}", attempt.number(), attempt.hint()),
///         None => "the caller's own key".to_owned(),
///     }
/// }
/// ```
pub struct RequestBody<B> {
    kind: Kind<B>,
    attempt: Option<Attempt>,
    /// Knows which trailers are credentials.
    policy: Option<Arc<dyn ProviderPolicy>>,
}

pub(super) enum Kind<B> {
    /// The caller's body itself, since no other attempt can follow.
    Direct(B),
    Recorded(Reader<B>),
    Superseded,
}

impl<B> RequestBody<B> {
    /// The body of a request that passes untouched.
    pub(super) fn untouched(body: B) -> Self {
        Self {
            kind: Kind::Direct(body),
            attempt: None,
            policy: None,
        }
    }

    pub(super) fn of_attempt(
        kind: Kind<B>,
        attempt: Attempt,
        policy: Arc<dyn ProviderPolicy>,
    ) -> Self {
        Self {
            kind,
            attempt: Some(attempt),
            policy: Some(policy),
        }
    }

    fn remove_credentials(&self, frame: &mut Frame<Bytes>) {
        if let (Some(trailers), Some(attempt), Some(policy)) =
            (frame.trailers_mut(), &self.attempt, &self.policy)
        {
            request_trailers::remove_credentials(trailers, &**policy, attempt.key());
        }
    }

    /// Returns the attempt that this body belongs to.
    ///
    /// Returns `None` if the request brought its own key or the layer has no pool.
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
        let mut polled = match &mut self.kind {
            Kind::Direct(body) => Pin::new(body)
                .poll_frame(cx)
                .map_err(|error| RequestBodyError::source(Some(error.into()))),
            Kind::Recorded(reader) => Pin::new(reader).poll_frame(cx),
            Kind::Superseded => Poll::Ready(Some(Err(RequestBodyError::superseded()))),
        };
        match &mut polled {
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => self.remove_credentials(frame),
            // Drops the reader, so that a client that holds this body keeps nothing else alive.
            Poll::Ready(Some(Err(error))) if error.is_superseded() => self.kind = Kind::Superseded,
            _ => {}
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
