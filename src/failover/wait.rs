//! A waiting request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::pool::{Outlook, Waiter};

/// The resolution of key deadlines.
const RESOLUTION: Duration = Duration::from_millis(1);

/// Caps the wait, so that adding it to an `Instant` does not overflow.
const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

pin_project! {
    pub(super) struct Wait {
        waiter: Waiter,
        since: Instant,
        deadline: Instant,
        #[pin]
        sleep: Sleep,
    }
}

/// What the request at the front of the queue finds.
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
        loop {
            let now = Instant::now();
            let mut until = *this.deadline;
            let found = match this.waiter.is_first(cx) {
                true => look(),
                false => Found::Nothing(Outlook::Taken(None)),
            };
            let waited = now.saturating_duration_since(*this.since);
            match found {
                Found::Key => return Poll::Ready((true, waited)),
                // A key's deadline is rounded up, so a key that returns in time can seem to be late.
                Found::Nothing(Outlook::Closed {
                    reopens,
                    look_again,
                }) if now + reopens <= until + RESOLUTION => {
                    until = now + look_again;
                }
                Found::Nothing(Outlook::Taken(wait)) if now < until => {
                    until = wait.map_or(until, |wait| until.min(now + wait));
                }
                Found::Nothing(_) => return Poll::Ready((false, waited)),
            }
            if this.sleep.deadline() != until {
                this.sleep.as_mut().reset(until);
            }
            ready!(this.sleep.as_mut().poll(cx));
        }
    }
}
