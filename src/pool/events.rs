//! What happens to a pool, for those who listen.

use std::sync::Arc;

use http::StatusCode;

use super::error::Exhausted;
use super::reason::Reason;
use super::state::{KeyState, Marked};

/// Something that happened to a pool.
///
/// A key whose cooldown is over returns by itself, which is no event: nobody watches a clock.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PoolEvent {
    /// A key was put out, or is out for longer than before.
    #[non_exhaustive]
    Marked {
        /// Which key. A temporary mark of a key in a group puts its group out.
        key: KeyName,
        /// What the mark put it to.
        state: KeyState,
        /// Whether its state is another one now, or its cooldown was extended.
        marked: Marked,
        /// Why.
        reason: Reason,
        /// The status of the answer that refused it, if it was an answer.
        status: Option<StatusCode>,
    },
    /// A key was returned to service before its time, or was the first to succeed after it.
    #[non_exhaustive]
    Returned {
        /// Which key.
        key: KeyName,
        /// By whom.
        by: ReturnedBy,
    },
    /// A request found no key, or none that could follow.
    #[non_exhaustive]
    Exhausted {
        /// What its caller was told.
        exhausted: Exhausted,
    },
    /// The list of keys was changed. Of changes at the same time either may be told first.
    #[non_exhaustive]
    Changed {
        /// The keys that were added, in the pool's order.
        added: Vec<KeyName>,
        /// The keys that were removed.
        removed: Vec<KeyName>,
    },
    /// A subscriber was so far behind that the oldest events were lost to it.
    #[non_exhaustive]
    Missed {
        /// How many.
        events: u64,
    },
}

/// Who returned a key to service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReturnedBy {
    /// A person.
    Operator,
    /// A request that probed it.
    Probe,
}

/// A key as people know it. It is no handle: it keeps no key alive.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct KeyName {
    /// Its label, if it has one.
    pub label: Option<Arc<str>>,
    /// Its ends.
    pub hint: Arc<str>,
    /// The group that it belongs to, if any.
    pub group: Option<Arc<str>>,
}

/// Those who are told.
#[derive(Default)]
pub(super) struct Listeners {
    #[cfg(feature = "events")]
    subscribers: super::subscribers::Subscribers,
}

impl Listeners {
    /// Puts the event together if anybody listens.
    #[cfg_attr(not(feature = "events"), allow(clippy::unused_self))]
    pub(super) fn tell(&self, _pool: &str, event: impl FnOnce() -> PoolEvent) {
        #[cfg(any(feature = "metrics", feature = "tracing"))]
        let event = {
            let event = event();
            crate::telemetry::told(_pool, &event);
            || event
        };
        #[cfg(feature = "events")]
        self.subscribers.send(event);
        #[cfg(not(feature = "events"))]
        drop(event);
    }
}

#[cfg(feature = "events")]
impl super::KeyPool {
    /// What happens to the pool from now on: marks, returns, exhaustion, changes of the list.
    ///
    /// Nobody waits for a subscriber. One that is 256 events behind loses the oldest, and is told so
    /// with [`PoolEvent::Missed`]. It keeps neither a key nor the pool alive: its stream ends with
    /// the pool. Nothing is sent, nor put together, while nobody subscribes.
    ///
    /// ```
    /// use tower_key_failover::pool::{KeyPool, KeyState, PoolEvent, Reason};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = KeyPool::builder()
    ///     .labeled_key("team-a", "sk-first-0123456789ab")
    ///     .labeled_key("team-b", "sk-second-0123456789")
    ///     .build()?;
    /// let mut events = pool.subscribe();
    ///
    /// pool.disable("team-a")?;
    ///
    /// let Some(PoolEvent::Marked { key, state, reason, .. }) = events.next_event().await else {
    ///     panic!("it was marked");
    /// };
    /// assert_eq!(key.label.as_deref(), Some("team-a"));
    /// assert_eq!((state, reason), (KeyState::Permanent, Reason::Operator));
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe(&self) -> super::PoolEvents {
        self.inner.shared.listeners.subscribers.subscribe()
    }
}
