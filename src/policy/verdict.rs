use std::time::Duration;

use http::StatusCode;

use crate::pool::Reason;

/// What an answer means for the request and for the key it was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The answer goes to the caller as it came; the key is untouched.
    Forward,
    /// The head is not enough: collect up to 64 KiB of the body within one second, then ask
    /// [`classify_body`](super::ProviderPolicy::classify_body).
    Inspect,
    /// The head is not enough, but nothing may wait: poll the body once, and where a frame or
    /// trailers are already there ask [`classify_body`](super::ProviderPolicy::classify_body).
    /// Where nothing is there yet the answer is forwarded.
    Peek,
    /// The key was refused: mark it, and send the request again with the next one.
    Failover(Mark),
}

impl Verdict {
    /// As a final verdict: once the body has been seen there is nothing left to ask for.
    pub(super) fn or_forward(self) -> Self {
        match self {
            Self::Inspect | Self::Peek => Self::Forward,
            verdict => verdict,
        }
    }
}

/// What a refusal does to the key that met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    kind: MarkKind,
    reason: Option<Reason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MarkKind {
    Keep,
    Temporary(Option<Duration>),
    Permanent,
}

impl Mark {
    /// The key is refused *here*, not dead: it is not marked. Where no other key can follow, the
    /// provider's answer is forwarded.
    pub const fn keep() -> Self {
        Self::new(MarkKind::Keep)
    }

    /// The key is out for the given time; `None` or zero is the pool's default cooldown.
    ///
    /// A policy reports the wait as the provider said it: the pool clamps.
    pub const fn temporary(wait: Option<Duration>) -> Self {
        Self::new(MarkKind::Temporary(wait))
    }

    /// The key is out for good.
    pub const fn permanent() -> Self {
        Self::new(MarkKind::Permanent)
    }

    /// Says why. Without it the reason is read off the status.
    #[must_use]
    pub const fn because(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }

    const fn new(kind: MarkKind) -> Self {
        Self { kind, reason: None }
    }

    pub(crate) fn kind(self) -> MarkKind {
        self.kind
    }

    /// The reason given with [`because`](Self::because), else the one that `status` stands for.
    pub fn reason(self, status: StatusCode) -> Reason {
        self.reason.unwrap_or(match status {
            StatusCode::TOO_MANY_REQUESTS => Reason::RateLimited,
            StatusCode::PAYMENT_REQUIRED => Reason::Quota,
            StatusCode::UNAUTHORIZED => Reason::Unauthorized,
            StatusCode::FORBIDDEN => Reason::Forbidden,
            _ => Reason::Other,
        })
    }
}
