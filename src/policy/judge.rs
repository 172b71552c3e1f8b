//! From what a response says to a verdict: the rules that all built-in policies share.

use std::time::Duration;

use http::StatusCode;

use super::dialect::Finding;
use super::error_response::ErrorResponse;
use super::{Mark, Reason, Verdict, waits};

const PERMANENT: Verdict = Verdict::Failover(Mark::permanent());
pub(super) const KEEP: Verdict = Verdict::Failover(Mark::keep());

/// The rules that a user can override.
#[derive(Clone, Debug)]
pub(super) struct Judge {
    pub(super) on_unauthorized: Option<Verdict>,
    pub(super) on_forbidden: Option<Verdict>,
    pub(super) quota_cooldown: Duration,
}

impl Default for Judge {
    fn default() -> Self {
        Self {
            on_unauthorized: None,
            on_forbidden: None,
            quota_cooldown: Duration::from_secs(60 * 60),
        }
    }
}

impl Judge {
    /// The verdict on a response, given what it says beyond its status.
    pub(super) fn verdict(
        &self,
        response: &ErrorResponse<'_>,
        finding: Option<Finding>,
    ) -> Verdict {
        let status = response.status();
        let mark = match finding {
            Some(Finding::NotTheKey) => return Verdict::Forward,
            Some(Finding::Here) => Mark::keep(),
            Some(Finding::Quota(reset)) => {
                let wait = waits::quota(response, reset).unwrap_or(self.quota_cooldown);
                because(Reason::Quota, Mark::temporary(Some(wait)), status)
            }
            Some(Finding::RateLimited(reset)) => {
                let wait = waits::rate_limit(response, reset);
                because(Reason::RateLimited, Mark::temporary(wait), status)
            }
            // A 401 and a 403 say so by themselves, and a user can override both.
            Some(Finding::Dead) if !matches!(status.as_u16(), 401 | 403) => {
                because(Reason::Unauthorized, Mark::permanent(), status)
            }
            Some(Finding::Dead) | None => return self.by_status(response),
        };
        Verdict::Failover(mark)
    }

    fn by_status(&self, response: &ErrorResponse<'_>) -> Verdict {
        match response.status().as_u16() {
            401 => self.on_unauthorized.unwrap_or(PERMANENT),
            // Most bodies of a 403 say that the key works. An unreadable one may say so too.
            403 if !response.is_decodable() => self.on_forbidden.unwrap_or(KEEP),
            403 => self.on_forbidden.unwrap_or(PERMANENT),
            429 => Verdict::Failover(Mark::temporary(waits::rate_limit(response, None))),
            _ => Verdict::Forward,
        }
    }
}

/// The mark with its reason, unless the status implies the same reason.
fn because(reason: Reason, mark: Mark, status: StatusCode) -> Mark {
    if mark.reason(status) == reason {
        mark
    } else {
        mark.because(reason)
    }
}

/// States the reason in the verdict, for a response whose own status is not `status`.
pub(super) fn with_reason_of(status: StatusCode, verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Failover(mark) => Verdict::Failover(mark.because(mark.reason(status))),
        verdict => verdict,
    }
}
