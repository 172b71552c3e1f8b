//! From what a response says to a verdict: the rules that all built-in policies share.

use std::time::Duration;

use http::StatusCode;

use super::dialect::{Finding, Reach};
use super::error_response::ErrorResponse;
use super::{Mark, Reason, Verdict, waits};

const PERMANENT: Verdict = Verdict::Failover(Mark::permanent());
const SUSPECT: Verdict = Verdict::Failover(Mark::suspect());
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
        if !response.is_conclusive() {
            return self.verdict_in_doubt(response, finding);
        }
        let status = response.status();
        match finding {
            Some(Finding::NotTheKey) => Verdict::Forward,
            Some(Finding::Here) => KEEP,
            Some(Finding::NoAccess) => Verdict::Failover(Mark::keep().in_scope()),
            Some(Finding::Quota(reach, reset)) => self.quota(response, reach, reset),
            Some(Finding::RateLimited(reach, reset)) => rate_limit(response, reach, reset),
            // A user can override what a 401 and a 403 mean.
            Some(Finding::Dead) => match status.as_u16() {
                401 => self.on_unauthorized.unwrap_or(PERMANENT),
                403 => self.on_forbidden.unwrap_or(PERMANENT),
                _ => because(Reason::Unauthorized, Mark::permanent(), status),
            },
            None => match status.as_u16() {
                401 => self.on_unauthorized.unwrap_or(PERMANENT),
                // Without an explanation, the request may be at fault.
                403 => self.on_forbidden.unwrap_or(SUSPECT),
                429 => rate_limit(response, Reach::Scope, None),
                _ => Verdict::Forward,
            },
        }
    }

    /// The verdict on a response whose body is incomplete or unreadable.
    ///
    /// Most bodies say that the key works, so nothing is marked unless the status is enough: that
    /// of a 401 and a 429 is.
    fn verdict_in_doubt(&self, response: &ErrorResponse<'_>, finding: Option<Finding>) -> Verdict {
        match (response.status().as_u16(), finding) {
            (_, Some(Finding::NotTheKey)) => Verdict::Forward,
            (_, Some(Finding::Here | Finding::NoAccess)) => KEEP,
            (401, _) => self.on_unauthorized.unwrap_or(PERMANENT),
            (403, _) => self.on_forbidden.unwrap_or(KEEP),
            (429, Some(Finding::Quota(reach, reset))) => self.quota(response, reach, reset),
            (429, Some(Finding::RateLimited(reach, reset))) => rate_limit(response, reach, reset),
            (429, _) => rate_limit(response, Reach::Scope, None),
            (_, Some(Finding::Dead | Finding::Quota(..) | Finding::RateLimited(..))) => KEEP,
            (_, None) => Verdict::Forward,
        }
    }

    fn quota(
        &self,
        response: &ErrorResponse<'_>,
        reach: Reach,
        reset: Option<Duration>,
    ) -> Verdict {
        let wait = waits::quota(response, reset).unwrap_or(self.quota_cooldown);
        let mark = Mark::temporary(Some(wait));
        because(Reason::Quota, reach.limit(mark), response.status())
    }
}

fn rate_limit(response: &ErrorResponse<'_>, reach: Reach, reset: Option<Duration>) -> Verdict {
    let mark = Mark::temporary(waits::rate_limit(response, reset));
    because(Reason::RateLimited, reach.limit(mark), response.status())
}

/// The mark with its reason, unless the status implies the same reason.
fn because(reason: Reason, mark: Mark, status: StatusCode) -> Verdict {
    Verdict::Failover(if mark.reason(status) == reason {
        mark
    } else {
        mark.because(reason)
    })
}

/// States the reason in the verdict, for a response whose own status is not `status`.
pub(super) fn with_reason_of(status: StatusCode, verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Failover(mark) => Verdict::Failover(mark.because(mark.reason(status))),
        verdict => verdict,
    }
}
