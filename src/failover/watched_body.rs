use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::late_success::LateSuccess;
use super::response_body::BodyKind;
use crate::pool::InFlight;

pin_project! {
    /// A body whose first event or trailers decide whether the request succeeded, or which counts as
    /// in flight until it ends.
    pub(super) struct WatchedBody<R>
    where
        R: Body,
    {
        #[pin]
        body: BodyKind<R>,
        late_success: Option<LateSuccess>,
        in_flight: Option<InFlight>,
    }
}

impl<R: Body> WatchedBody<R> {
    pub(super) fn new(
        body: BodyKind<R>,
        late_success: Option<LateSuccess>,
        in_flight: Option<InFlight>,
    ) -> Self {
        Self {
            body,
            late_success,
            in_flight,
        }
    }
}

impl<R: Body<Data = Bytes>> Body for WatchedBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        let is_over = match &frame {
            Some(Ok(frame)) => {
                if let Some(late_success) = this.late_success {
                    late_success.on_frame(frame);
                }
                // Some callers do not ask for what follows the last frame.
                this.body.is_end_stream()
            }
            Some(Err(_)) | None => true,
        };
        if is_over {
            *this.in_flight = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
