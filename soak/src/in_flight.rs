//! How many requests of a replica use a key at the same time, as the upstream sees them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::time::Instant;

use crate::keys::CAP;
use crate::payload::Payload;

#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<Mutex<Count>>);

#[derive(Debug, Default)]
struct Count {
    now: u32,
    most: u32,
    /// Since when there are more than the cap.
    above_since: Option<Instant>,
    /// For how long there were more than the cap, in total.
    above: Duration,
}

/// A request in flight, until this is dropped.
#[derive(Debug)]
pub struct Request(InFlight);

impl InFlight {
    pub fn enter(&self) -> Request {
        let mut count = self.count();
        count.now += 1;
        count.most = count.most.max(count.now);
        if count.now > CAP {
            count.above_since.get_or_insert_with(Instant::now);
        }
        Request(self.clone())
    }

    /// The most requests at the same time.
    pub fn most(&self) -> u32 {
        self.count().most
    }

    /// For how long the cap was exceeded.
    pub fn above(&self) -> Duration {
        let count = self.count();
        count.above + count.above_since.map_or(Duration::ZERO, since)
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Request {
    /// The request is in flight until its response body has been sent or dropped.
    pub fn until_end_of(self, body: Payload) -> Payload {
        let kept = move |frame| {
            let _ = &self;
            frame
        };
        body.map_frame(kept).boxed_unsync()
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut count = self.0.count();
        count.now -= 1;
        if count.now <= CAP
            && let Some(above) = count.above_since.take()
        {
            count.above += since(above);
        }
    }
}

fn since(start: Instant) -> Duration {
    Instant::now().saturating_duration_since(start)
}
