//! Limits the connections of clients, and ends those without a request in flight.
//!
//! A connection may be without a request for a limited time. This includes the detection of the protocol,
//! an incomplete request head, and the time between two requests. It does not matter how many bytes
//! arrive. If the limit of connections is reached, a new connection replaces the one that has been without
//! a request for the longest time.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// How often a new connection looks for one to replace, while all have a request in flight.
const RETRY: Duration = Duration::from_millis(100);

/// How long a connection may take to close after it was asked to.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The connections of one listener.
pub struct Connections {
    idle_timeout: Option<Duration>,
    places: Arc<Semaphore>,
    open: Arc<Open>,
}

type Open = Mutex<HashMap<u64, Arc<Activity>>>;

/// A place among the limited number of connections.
pub type Place = Arc<OwnedSemaphorePermit>;

impl Connections {
    pub fn new(max: usize, idle_timeout: Option<Duration>) -> Self {
        let max = max.min(Semaphore::MAX_PERMITS);
        Self {
            idle_timeout,
            places: Arc::new(Semaphore::new(max)),
            open: Arc::default(),
        }
    }

    /// Waits until the limit allows another connection.
    pub async fn open(&self) -> Connection {
        let place = loop {
            if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                break place;
            }
            self.close_longest_idle();
            let place = Arc::clone(&self.places).acquire_owned();
            if let Ok(Ok(place)) = tokio::time::timeout(RETRY, place).await {
                break place;
            }
        };
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let activity = Arc::new(Activity::default());
        activity.idle_since.store(now(), Ordering::Relaxed);
        lock(&self.open).insert(id, Arc::clone(&activity));
        Connection {
            id,
            activity,
            open: Arc::clone(&self.open),
            idle_timeout: self.idle_timeout,
            place: Arc::new(place),
        }
    }

    /// Closes the connection that has been without a request for the longest time.
    pub fn close_longest_idle(&self) {
        let open = lock(&self.open);
        let idle = open.values().filter(|activity| activity.is_closable());
        if let Some(longest) = idle.min_by_key(|activity| activity.since()) {
            longest.is_asked_to_close.store(true, Ordering::Relaxed);
            longest.close.notify_one();
        }
    }
}

fn lock(open: &Open) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Activity>>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In milliseconds since the first call.
fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let start = *START;
    let elapsed = Instant::now().saturating_duration_since(start);
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

#[derive(Default)]
struct Activity {
    in_flight: AtomicUsize,
    /// When the last request ended, or the connection opened.
    idle_since: AtomicU64,
    is_asked_to_close: AtomicBool,
    close: Notify,
}

impl Activity {
    fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::Acquire) == 0
    }

    fn is_closable(&self) -> bool {
        self.is_idle() && !self.is_asked_to_close.load(Ordering::Relaxed)
    }

    fn since(&self) -> u64 {
        self.idle_since.load(Ordering::Relaxed)
    }
}

/// How to close a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Close {
    Gracefully,
    AtOnce,
}

/// An open connection.
pub struct Connection {
    id: u64,
    activity: Arc<Activity>,
    open: Arc<Open>,
    idle_timeout: Option<Duration>,
    place: Place,
}

impl Connection {
    pub fn place(&self) -> Place {
        Arc::clone(&self.place)
    }

    pub fn begin_request(&self) -> InFlight {
        self.activity.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(&self.activity))
    }

    /// How long it may take to close after it was asked to, which is part of the limit.
    pub fn close_timeout(&self) -> Duration {
        let limit = self.idle_timeout.map(|timeout| timeout / 4);
        CLOSE_TIMEOUT.min(limit.unwrap_or(CLOSE_TIMEOUT))
    }

    /// Completes when the connection must close: it has been without a request for too long, or makes
    /// room for another one.
    pub async fn idle(&self) -> Close {
        let too_long = async {
            match self.idle_timeout {
                Some(timeout) => self.idle_for(timeout - self.close_timeout()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = too_long => Close::Gracefully,
            () = self.activity.close.notified() => match self.activity.is_idle() {
                true => Close::AtOnce,
                // A request has arrived in the meantime.
                false => Close::Gracefully,
            }
        }
    }

    /// Completes when the connection has been without a request for this long.
    pub async fn idle_for(&self, timeout: Duration) {
        let timeout = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let mut wait = timeout;
        loop {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            // While a request is in flight, it cannot be idle for long enough before the next look.
            wait = match self.activity.is_idle() {
                true => (self.activity.since().saturating_add(timeout)).saturating_sub(now()),
                false => timeout,
            };
            if wait == 0 {
                return;
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        lock(&self.open).remove(&self.id);
    }
}

/// A request in flight, until its response has been sent.
pub struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.idle_since.store(now(), Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Release);
    }
}

pin_project! {
    /// The body of a response, which keeps its request in flight.
    pub struct TrackedBody<B> {
        #[pin]
        body: B,
        in_flight: InFlight,
    }
}

impl<B> TrackedBody<B> {
    pub fn new(body: B, in_flight: InFlight) -> Self {
        Self { body, in_flight }
    }
}

impl<B: Body> Body for TrackedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
