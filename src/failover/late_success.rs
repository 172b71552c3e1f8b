use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::response;
use http_body::Frame;

use super::exchange::Pending;
use crate::policy::{BodyEvidence, ProviderPolicy, Success};
use crate::sse::FirstEvent;

/// Watches a forwarded body for the first event or the trailers, which decide whether the request
/// succeeded. It changes and delays nothing.
pub(super) struct LateSuccess {
    /// What is decided then. `None` once it is.
    pending: Option<Pending>,
    policy: Arc<dyn ProviderPolicy>,
    head: response::Parts,
    event: Option<Event>,
}

/// What has arrived of the first event.
#[derive(Default)]
struct Event {
    data: BytesMut,
    end: FirstEvent,
}

impl LateSuccess {
    pub(super) fn new(
        success: Success,
        pending: Pending,
        policy: Arc<dyn ProviderPolicy>,
        head: response::Parts,
    ) -> Self {
        Self {
            pending: Some(pending),
            policy,
            head,
            event: (success == Success::FirstEvent).then(Event::default),
        }
    }

    /// The caller gets the next frame.
    pub(super) fn on_frame(&mut self, frame: &Frame<Bytes>) {
        if self.pending.is_none() {
            return;
        }
        let (policy, head) = (&self.policy, &self.head);
        let is_success = match (&mut self.event, frame.data_ref(), frame.trailers_ref()) {
            (None, _, Some(trailers)) => {
                let evidence = BodyEvidence::complete(&[]).with_trailers(trailers);
                policy.success_in_body(head, &evidence)
            }
            (Some(event), Some(more), _) => {
                let Some(data) = event.push(more) else {
                    return;
                };
                policy.success_in_body(head, &BodyEvidence::partial(data))
            }
            (Some(_), _, Some(_)) => false,
            _ => return,
        };
        if let Some(pending) = self.pending.take() {
            pending.decide(is_success);
        }
    }
}

impl Event {
    /// Of a longer first event, the policy sees only the start.
    const MAX_BYTES: usize = 64 * 1024;

    /// Returns the event, if it is complete.
    fn push<'a>(&'a mut self, more: &'a Bytes) -> Option<&'a [u8]> {
        let more = &more[..more.len().min(Self::MAX_BYTES - self.data.len())];
        // Most events arrive as a whole and are not copied.
        let data = if self.data.is_empty() && self.end.is_complete(more) {
            more
        } else {
            self.data.extend_from_slice(more);
            &self.data
        };
        (data.len() == Self::MAX_BYTES || self.end.is_complete(data)).then_some(data)
    }
}
