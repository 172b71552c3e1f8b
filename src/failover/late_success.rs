use bytes::{Bytes, BytesMut};
use http_body::Frame;

use super::exchange::Pending;
use crate::policy::{BodyEvidence, Success};
use crate::sse::FirstEvent;

/// Watches a forwarded body for the first event or the trailers, which decide whether the request
/// succeeded. It changes and delays nothing.
pub(super) struct LateSuccess(Option<Box<Watch>>);

struct Watch {
    pending: Pending,
    is_success: Box<dyn Fn(&BodyEvidence<'_>) -> bool + Send + Sync>,
    event: Option<Event>,
}

#[derive(Default)]
struct Event {
    data: BytesMut,
    end: FirstEvent,
}

impl LateSuccess {
    /// Of a longer first event, the policy sees only the start.
    const MAX_BYTES: usize = 64 * 1024;

    pub(super) fn new(
        success: Success,
        pending: Pending,
        is_success: impl Fn(&BodyEvidence<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Box::new(Watch {
            pending,
            is_success: Box::new(is_success),
            event: (success == Success::FirstEvent).then(Event::default),
        })))
    }

    /// The caller gets the next frame.
    pub(super) fn on_frame(&mut self, frame: &Frame<Bytes>) {
        let Some(watch) = &mut self.0 else {
            return;
        };
        let is_success = match (&mut watch.event, frame.data_ref(), frame.trailers_ref()) {
            (None, _, Some(trailers)) => {
                let evidence = BodyEvidence::complete(&[]).with_trailers(trailers);
                (watch.is_success)(&evidence)
            }
            (Some(Event { data, end }), Some(more), _) => {
                let room = Self::MAX_BYTES - data.len();
                data.extend_from_slice(&more[..more.len().min(room)]);
                if !end.is_complete(data) && data.len() < Self::MAX_BYTES {
                    return;
                }
                (watch.is_success)(&BodyEvidence::partial(data))
            }
            (Some(_), _, Some(_)) => false,
            _ => return,
        };
        if let Some(watch) = self.0.take() {
            watch.pending.decide(is_success);
        }
    }
}
