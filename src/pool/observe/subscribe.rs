use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError::Lagged;

use super::event::PoolEvent;

/// How many events a subscriber can be behind.
const CAPACITY: usize = 256;

/// The channel is created by the first subscriber.
#[derive(Default)]
pub(in crate::pool) struct Subscribers(OnceLock<broadcast::Sender<PoolEvent>>);

impl Subscribers {
    pub(in crate::pool) fn subscribe(&self) -> PoolEvents {
        let sender = self.0.get_or_init(|| broadcast::Sender::new(CAPACITY));
        PoolEvents {
            events: BroadcastStream::new(sender.subscribe()),
        }
    }

    pub(in crate::pool) fn send(&self, event: impl FnOnce() -> PoolEvent) {
        if let Some(sender) = self.0.get()
            && sender.receiver_count() > 0
        {
            // The last subscriber may have left in the meantime.
            let _ = sender.send(event());
        }
    }
}

/// A stream of a pool's events.
///
/// [`KeyPool::subscribe`](crate::KeyPool::subscribe) returns it.
#[cfg_attr(docsrs, doc(cfg(feature = "events")))]
pub struct PoolEvents {
    events: BroadcastStream<PoolEvent>,
}

impl PoolEvents {
    /// Returns the next event, or `None` when the pool has been dropped.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
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
