//! A waiter is woken when a key is due: when its cooldown ends or its next probe is due.

use std::time::Duration;

use crate::pool::error::{Exhausted, ExhaustedKind};
use crate::pool::state::KeyState;

/// What a waiter can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// A key is valid, but another request is using it or this request has tried it. The next of the
    /// other keys is due after the given time, if any is.
    Taken(Option<Duration>),
    /// No key is valid.
    Closed {
        /// When the first cooldown ends.
        reopens: Duration,
        /// When to look again: a key reopens or is due for a probe.
        look_again: Duration,
    },
    /// Every key is permanently marked.
    Hopeless,
}

impl Outlook {
    /// The outlook for a request without a usable key. `keys` are the states of the keys that it can
    /// use, and the time until each is due. The pool is due for a probe after `pool_due`.
    pub(in crate::pool) fn new(
        exhausted: Exhausted,
        keys: impl Iterator<Item = (KeyState, Option<Duration>)>,
        pool_due: Option<Duration>,
    ) -> Self {
        match (exhausted.kind, exhausted.retry_after) {
            (ExhaustedKind::Permanent | ExhaustedKind::Disabled | ExhaustedKind::UnknownPin, _) => {
                Self::Hopeless
            }
            (ExhaustedKind::RateLimited, Some(reopens)) => Self::Closed {
                reopens,
                // A key can be marked between the two reads, so the minimum includes `reopens`.
                look_again: next_due(keys)
                    .into_iter()
                    .chain(pool_due)
                    .fold(reopens, Duration::min),
            },
            (ExhaustedKind::RateLimited, None) => Self::Taken(next_due(keys)),
        }
    }
}

/// When the next key reopens or is due. Whether a request can use the key is known only then.
fn next_due(keys: impl Iterator<Item = (KeyState, Option<Duration>)>) -> Option<Duration> {
    let times = keys.flat_map(|(state, due)| {
        let reopens = match state {
            KeyState::Temporary { retry_after } => Some(retry_after),
            KeyState::Valid | KeyState::Permanent => None,
        };
        // A key whose probe is due but taken still reopens.
        [reopens, due]
    });
    times.flatten().min()
}
