use std::time::Duration;

use http::StatusCode;

use super::ReadLimit;
use crate::pool::Reason;

/// What a response means for the request and for its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The caller receives this response, and the key is not marked.
    Forward,
    /// The head is not enough. The layer reads the body up to this limit, and then calls
    /// [`classify_body`](super::ProviderPolicy::classify_body) once, even if nothing arrived.
    Read(ReadLimit),
    /// The key was refused. The layer applies the mark, and sends the request again with the next
    /// key. If no other key can follow, the [`Mark`] decides which response the caller receives.
    Failover(Mark),
}

impl Verdict {
    /// The verdict once the body was read, when there is nothing left to ask for.
    pub(crate) fn or_forward(self) -> Self {
        match self {
            Self::Read(_) => Self::Forward,
            verdict => verdict,
        }
    }
}

/// What a refusal does to the key that was refused.
///
/// ```
/// use std::time::Duration;
/// use http::StatusCode;
/// use tower_key_failover::policy::{Mark, MarkKind, Reason};
///
/// let mark = Mark::temporary(Some(Duration::from_secs(5)));
/// assert_eq!(mark.kind(), MarkKind::Temporary(Some(Duration::from_secs(5))));
/// assert_eq!(mark.reason(StatusCode::TOO_MANY_REQUESTS), Reason::RateLimited);
/// assert_eq!(mark.because(Reason::Quota).reason(StatusCode::TOO_MANY_REQUESTS), Reason::Quota);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    kind: MarkKind,
    reason: Option<Reason>,
    in_scope: bool,
}

/// The kind of a [`Mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MarkKind {
    /// The key is unchanged. See [`Mark::keep`].
    Keep,
    /// The key is suspected. See [`Mark::suspect`].
    Suspect,
    /// The key cools down for this time. See [`Mark::temporary`].
    Temporary(Option<Duration>),
    /// The key is permanently marked. See [`Mark::permanent`].
    Permanent,
}

impl Mark {
    /// Leaves the key unchanged. It works, but not for this request. If no other key can follow, the
    /// caller receives this response.
    pub const fn keep() -> Self {
        Self::new(MarkKind::Keep)
    }

    /// Suspects the key. It may be dead, or the request may be the cause of the refusal. The key
    /// stays usable, but requests try keys with fewer suspicions first. See
    /// [`guides::recovery`](crate::guides::recovery#suspicion).
    ///
    /// If no other key can follow, the caller receives this response. A 401 is an exception: the
    /// caller receives the response of an exhausted pool, because clients react to a 401 by renewing
    /// their own credential.
    pub const fn suspect() -> Self {
        Self::new(MarkKind::Suspect)
    }

    /// Cools the key down for the given time. `None` and zero mean the pool's default cooldown.
    ///
    /// Pass the wait as the provider states it. The pool limits it to
    /// [`max_cooldown`](crate::KeyPoolBuilder::max_cooldown). If no other key can follow, the caller
    /// receives the response of an exhausted pool.
    pub const fn temporary(wait: Option<Duration>) -> Self {
        Self::new(MarkKind::Temporary(wait))
    }

    /// Marks the key permanently. It serves no request until a probe succeeds or an operator
    /// reinstates it. If no other key can follow, the caller receives the response of an exhausted
    /// pool.
    ///
    /// If the status is 401 and a request has succeeded with the key since it was added or returned,
    /// the layer applies [`Mark::suspect`] instead.
    pub const fn permanent() -> Self {
        Self::new(MarkKind::Permanent)
    }

    /// Sets the reason. Without it, the reason follows from the status.
    #[must_use]
    pub const fn because(mut self, reason: Reason) -> Self {
        self.reason = Some(reason);
        self
    }

    const fn new(kind: MarkKind) -> Self {
        Self {
            kind,
            reason: None,
            in_scope: false,
        }
    }

    /// Limits the mark to the [scope](crate::pool::Scope) of the request, for example to one model.
    ///
    /// - [`temporary`](Self::temporary): the key cools down for requests with this scope. If the
    ///   request has no scope, the whole key cools down.
    /// - [`keep`](Self::keep): the key may not use this scope. If the request then succeeds with
    ///   another key, requests with this scope do not use the key for 10 minutes. If the request has
    ///   no scope, the key is unchanged.
    /// - [`suspect`](Self::suspect) and [`permanent`](Self::permanent) are unchanged, because they
    ///   concern the key itself.
    ///
    /// ```
    /// use tower_key_failover::policy::Mark;
    ///
    /// assert!(Mark::temporary(None).in_scope().is_in_scope());
    /// assert_eq!(Mark::permanent().in_scope(), Mark::permanent());
    /// ```
    #[must_use]
    pub const fn in_scope(mut self) -> Self {
        self.in_scope = matches!(self.kind, MarkKind::Keep | MarkKind::Temporary(_));
        self
    }

    /// Whether the mark is limited to the scope of the request. See [`in_scope`](Self::in_scope).
    pub const fn is_in_scope(self) -> bool {
        self.in_scope
    }

    /// The kind of the mark.
    pub const fn kind(self) -> MarkKind {
        self.kind
    }

    /// The reason set with [`because`](Self::because), or else the one that `status` implies.
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
