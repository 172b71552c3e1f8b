//! Logs when an upstream stops to respond, and when it responds again.
//!
//! Each request fails during an outage. A line for each would hide everything else.

use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{info, warn};

/// The state of one upstream.
#[derive(Default)]
pub struct Outage {
    /// The number of requests that have failed since the last response.
    failed: AtomicU64,
}

impl Outage {
    /// Call it when a request gets no response.
    pub fn failed(&self, route: &str, what: &str, why: &str) {
        if self.failed.fetch_add(1, Ordering::Relaxed) == 0 {
            warn!(target: "gateway", route, "{what}: {why}");
        }
    }

    /// Call it when a request gets a response.
    pub fn responded(&self, route: &str) {
        if self.failed.load(Ordering::Relaxed) == 0 {
            return;
        }
        let failed_requests = self.failed.swap(0, Ordering::Relaxed);
        if failed_requests > 0 {
            info!(target: "gateway", route, failed_requests, "the upstream responds again");
        }
    }
}
