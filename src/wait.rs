//! A request that waits for a key to return.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::pool::Place;

/// The grid that deadlines of keys are on.
const GRID: Duration = Duration::from_millis(1);

pin_project! {
    pub(crate) struct Wait {
        place: Place,
        since: Instant,
        deadline: Instant,
        #[pin]
        sleep: Sleep,
    }
}

/// What there is for the request at the front.
pub(crate) enum Found {
    /// A key, which was taken.
    Key,
    /// None yet; the soonest returns in so long, as far as is known.
    Nothing(Option<Duration>),
    /// None will return by itself.
    NoHope,
}

impl Wait {
    /// A wait at `place` for at most `time`.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with time enabled.
    pub(crate) fn new(place: Place, time: Duration) -> Self {
        let since = Instant::now();
        let deadline = since.checked_add(time).unwrap_or(since);
        Self {
            place,
            since,
            deadline,
            sleep: sleep_until(deadline),
        }
    }

    /// Whether a key was found, and how long that took.
    pub(crate) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut look: impl FnMut() -> Found,
    ) -> Poll<(bool, Duration)> {
        let mut this = self.project();
        loop {
            let mut until = *this.deadline;
            let mut hopeful = true;
            if this.place.is_front(cx) {
                match look() {
                    Found::Key => return Poll::Ready((true, since(*this.since))),
                    Found::NoHope => hopeful = false,
                    Found::Nothing(None) => {}
                    Found::Nothing(Some(wait)) => {
                        let back = Instant::now().checked_add(wait);
                        hopeful = back.is_some_and(|back| back <= until + GRID);
                        until = back.unwrap_or(until);
                    }
                }
            }
            if !hopeful || Instant::now() >= until {
                return Poll::Ready((false, since(*this.since)));
            }
            if this.sleep.deadline() != until {
                this.sleep.as_mut().reset(until);
            }
            ready!(this.sleep.as_mut().poll(cx));
        }
    }
}

fn since(then: Instant) -> Duration {
    Instant::now().saturating_duration_since(then)
}
