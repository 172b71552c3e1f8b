use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError::Lagged;

use super::events::PoolEvent;

/// How far a subscriber may be behind.
const CAPACITY: usize = 256;

/// Absent until somebody subscribes.
#[derive(Default)]
pub(super) struct Subscribers(OnceLock<broadcast::Sender<PoolEvent>>);

impl Subscribers {
    pub(super) fn subscribe(&self) -> PoolEvents {
        let sender = self.0.get_or_init(|| broadcast::Sender::new(CAPACITY));
        PoolEvents {
            events: BroadcastStream::new(sender.subscribe()),
        }
    }

    pub(super) fn send(&self, event: impl FnOnce() -> PoolEvent) {
        if let Some(sender) = self.0.get() {
            if sender.receiver_count() > 0 {
                // The last of them may have left just now.
                let _ = sender.send(event());
            }
        }
    }
}

/// What happens to a pool, as a stream.
///
/// See [`KeyPool::subscribe`](super::KeyPool::subscribe).
pub struct PoolEvents {
    events: BroadcastStream<PoolEvent>,
}

impl PoolEvents {
    /// The next event; `None` once the pool is gone.
    ///
    /// # Cancel safety
    ///
    /// No event is lost when the future is dropped.
    pub async fn next_event(&mut self) -> Option<PoolEvent> {
        poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for PoolEvents {
    type Item = PoolEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<PoolEvent>> {
        Pin::new(&mut self.events)
            .poll_next(cx)
            .map(|event| match event? {
                Ok(event) => Some(event),
                Err(Lagged(events)) => Some(PoolEvent::Missed { events }),
            })
    }
}

impl fmt::Debug for PoolEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolEvents").finish_non_exhaustive()
    }
}
