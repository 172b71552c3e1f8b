//! What can be observed of a pool: events, snapshots and usage.

mod event;
mod snapshot;
#[cfg(feature = "events")]
mod subscribe;
mod usage;

pub use self::event::{KeyName, PoolEvent, ReturnedBy};
pub use self::snapshot::{KeySnapshot, PoolSnapshot, ScopeSnapshot};
#[cfg(feature = "events")]
pub use self::subscribe::PoolEvents;
#[cfg(feature = "events")]
pub(super) use self::subscribe::Subscribers;
pub use self::usage::KeyUsage;
pub(super) use self::usage::UsageCounters;

/// Observes all pools of the process. The crate root names the implementation.
pub(crate) trait PoolObserver {
    /// Whether events have to be created even if nobody subscribes to them.
    const ENABLED: bool = false;

    fn on_event(_pool: &str, _event: &PoolEvent) {}

    /// The application asks for the number of keys in each state.
    #[cfg(feature = "metrics")]
    fn on_record(_pool: &PoolSnapshot) {}
}

/// Everyone who observes one pool.
#[derive(Default)]
pub(super) struct Observers {
    #[cfg(feature = "events")]
    subscribers: Subscribers,
}

impl Observers {
    /// Creates the event if somebody observes the pool.
    #[cfg_attr(not(feature = "events"), allow(clippy::unused_self))]
    pub(super) fn on_event(&self, pool: &str, event: impl FnOnce() -> PoolEvent) {
        if <crate::Observer as PoolObserver>::ENABLED {
            let event = event();
            <crate::Observer as PoolObserver>::on_event(pool, &event);
            #[cfg(feature = "events")]
            self.subscribers.send(|| event);
            return;
        }
        #[cfg(feature = "events")]
        self.subscribers.send(event);
        #[cfg(not(feature = "events"))]
        drop(event);
    }

    #[cfg(feature = "events")]
    pub(super) fn subscribe(&self) -> PoolEvents {
        self.subscribers.subscribe()
    }
}
