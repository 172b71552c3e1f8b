//! The names of values in logs and metrics.

use crate::failover::Replay;
use crate::pool::{ExhaustedKind, ReturnedBy};

pub(super) fn of_return(by: ReturnedBy) -> &'static str {
    match by {
        ReturnedBy::Operator => "operator",
        ReturnedBy::Probe => "probe",
        ReturnedBy::Peer => "peer",
    }
}

pub(super) fn of_exhaustion(kind: ExhaustedKind) -> &'static str {
    match kind {
        ExhaustedKind::RateLimited => "rate_limited",
        ExhaustedKind::Permanent => "permanent",
        ExhaustedKind::Disabled => "disabled",
        ExhaustedKind::UnknownPin => "unknown_pin",
    }
}

/// Why a request could not be sent again, if its body was the reason.
pub(super) fn of_given_up(replay: Replay) -> Option<&'static str> {
    match replay {
        Replay::Available | Replay::NotNeeded => None,
        Replay::TooLarge => Some("too_large"),
        Replay::OverBudget => Some("over_budget"),
        Replay::BodyFailed => Some("body_failed"),
    }
}
