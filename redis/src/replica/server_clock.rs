//! The server's clock, as far as this replica knows it.

use tokio::time::Instant;

/// What the server's clock showed.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerClock {
    pub(super) millis: u64,
    pub(super) at: Instant,
}

impl ServerClock {
    /// What the server's clock shows or showed at `instant`.
    pub(super) fn millis_at(self, instant: Instant) -> u64 {
        let later = instant.saturating_duration_since(self.at).as_millis() as u64;
        let earlier = self.at.saturating_duration_since(instant).as_millis() as u64;
        self.millis.saturating_add(later).saturating_sub(earlier)
    }
}
