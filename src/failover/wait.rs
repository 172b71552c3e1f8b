//! A waiting request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::pool::{Outlook, Turn, Waiter};

/// The resolution of key deadlines.
const RESOLUTION: Duration = Duration::from_millis(1);

/// Caps the wait, so that adding it to an `Instant` does not overflow.
pub(super) const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

pin_project! {
    pub(super) struct Wait {
        waiter: Waiter,
        since: Instant,
        deadline: Instant,
        #[pin]
        sleep: Sleep,
    }
}

/// What a waiting request finds when it looks for a key.
pub(super) enum Found {
    /// A key, which it has taken.
    Key,
    Nothing(Outlook),
}

impl Wait {
    /// Waits for at most `time`.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime with time enabled.
    pub(super) fn new(waiter: Waiter, time: Duration) -> Self {
        let since = Instant::now();
        let deadline = since + time.min(LONGEST);
        Self {
            waiter,
            since,
            deadline,
            sleep: sleep_until(deadline),
        }
    }

    /// Returns whether a key was found, and how long that took.
    pub(super) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut look: impl FnMut() -> Found,
    ) -> Poll<(bool, Duration)> {
        let mut this = self.project();
        let deadline = *this.deadline;
        loop {
            let now = Instant::now();
            let waited = now.saturating_duration_since(*this.since);
            if now > deadline + RESOLUTION {
                return Poll::Ready((false, waited));
            }
            let until = match this.waiter.poll_turn(cx, deadline) {
                Turn::Look { round } => match look() {
                    Found::Key => return Poll::Ready((true, waited)),
                    Found::Nothing(outlook) => match look_again(outlook, now, deadline) {
                        Some(until) => {
                            this.waiter.pass(round, until);
                            until
                        }
                        None => return Poll::Ready((false, waited)),
                    },
                },
                Turn::Later(_) if now >= deadline => return Poll::Ready((false, waited)),
                Turn::Later(time) => time.min(deadline),
            };
            if this.sleep.deadline() != until {
                this.sleep.as_mut().reset(until);
            }
            ready!(this.sleep.as_mut().poll(cx));
        }
    }
}

/// When the request looks again at the latest. `None` if no key returns in time.
fn look_again(outlook: Outlook, now: Instant, deadline: Instant) -> Option<Instant> {
    match outlook {
        // A key's deadline is rounded up, so a key that returns in time can seem to be late.
        Outlook::Closed {
            reopens,
            look_again,
        } if now + reopens <= deadline + RESOLUTION => Some(now + look_again),
        Outlook::Taken(wait) if now < deadline => {
            Some(wait.map_or(deadline, |wait| deadline.min(now + wait)))
        }
        Outlook::Closed { .. } | Outlook::Taken(_) | Outlook::Hopeless => None,
    }
}
