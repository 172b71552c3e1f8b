//! Logs, as spans and events of `tracing`.

use std::fmt;

use http::StatusCode;
use tracing::field::{self, Empty};
use tracing::span::EnteredSpan;
use tracing::{Span, debug, info, info_span, warn};

use super::names;
use crate::failover::{Attempt, AttemptRecord, ExchangeSpan, FailoverInfo, Outcome};
use crate::policy::Verdict;
use crate::pool::{KeyName, KeyState, Marked, PickedBy, PoolEvent, Scope};

const TARGET: &str = "tower_key_failover";

/// The span of a request whose key was refused.
#[derive(Default)]
pub(crate) struct Trace {
    span: Option<Span>,
    attempts: usize,
}

pub(crate) type Entered = EnteredSpan;

impl ExchangeSpan for Trace {
    type Entered = Entered;

    const IS_RECORDED: bool = true;

    fn begin(&mut self, pool: &str) -> Option<Entered> {
        if self.span.is_some() {
            return None;
        }
        self.attempts = 1;
        self.span = Some(info_span!(
            target: TARGET,
            "key failover",
            provider = named(pool),
            http.request.resend_count = Empty,
            http.response.status_code = Empty,
            "error.type" = Empty,
        ));
        self.enter()
    }

    fn enter(&self) -> Option<Entered> {
        Some(self.span.clone()?.entered())
    }

    fn on_attempt(&mut self, number: usize) {
        self.attempts = number;
    }

    fn end(self, status: StatusCode, outcome: Outcome) {
        if let Some(span) = &self.span {
            span.record("http.response.status_code", status.as_u16());
            if outcome == Outcome::Exhausted {
                span.record("error.type", "keys_exhausted");
            }
        }
    }
}

impl Drop for Trace {
    /// Records how often the request was sent again, however it ended.
    fn drop(&mut self) {
        if let Some(span) = &self.span {
            let resent = self.attempts.saturating_sub(1);
            span.record("http.request.resend_count", resent);
        }
    }
}

pub(super) fn on_event(pool: &str, event: &PoolEvent) {
    match event {
        PoolEvent::Marked {
            key,
            scope,
            state,
            marked,
            reason,
            status,
        } => {
            let (reason, status) = (reason.as_str(), status.map(|status| status.as_u16()));
            let scope = scope.as_ref().map(Scope::as_str);
            match state {
                KeyState::Temporary { retry_after } => info!(
                    target: TARGET,
                    provider = named(pool),
                    key.hint = &*key.hint,
                    key.label = key.label.as_deref(),
                    key.group = key.group.as_deref(),
                    scope,
                    http.response.status_code = status,
                    reason,
                    cooldown = ?retry_after,
                    extended = *marked == Marked::Extended,
                    "key marked temporary"
                ),
                KeyState::Permanent | KeyState::Valid => warn!(
                    target: TARGET,
                    provider = named(pool),
                    key.hint = &*key.hint,
                    key.label = key.label.as_deref(),
                    key.group = key.group.as_deref(),
                    http.response.status_code = status,
                    reason,
                    "key marked permanent"
                ),
            }
        }
        PoolEvent::Suspected {
            key,
            suspicions,
            reason,
            status,
        } => info!(
            target: TARGET,
            provider = named(pool),
            key.hint = &*key.hint,
            key.label = key.label.as_deref(),
            key.group = key.group.as_deref(),
            http.response.status_code = status.map(|status| status.as_u16()),
            reason = reason.as_str(),
            suspicions,
            "key suspected"
        ),
        PoolEvent::Trusted { key } => info!(
            target: TARGET,
            provider = named(pool),
            key.hint = &*key.hint,
            key.label = key.label.as_deref(),
            key.group = key.group.as_deref(),
            "key trusted again"
        ),
        PoolEvent::Returned { key, by } => info!(
            target: TARGET,
            provider = named(pool),
            key.hint = &*key.hint,
            key.label = key.label.as_deref(),
            key.group = key.group.as_deref(),
            by = names::of_return(*by),
            "key returned to service"
        ),
        PoolEvent::Exhausted { exhausted } => warn!(
            target: TARGET,
            provider = named(pool),
            outcome = names::of_exhaustion(exhausted.kind),
            retry_after = exhausted.retry_after.map(field::debug),
            "key pool exhausted"
        ),
        PoolEvent::Changed { added, removed } => info!(
            target: TARGET,
            provider = named(pool),
            added = ?Keys(added),
            removed = ?Keys(removed),
            "keys changed"
        ),
        PoolEvent::Missed { .. } => {}
    }
}

pub(super) fn on_response(pool: &str, info: &FailoverInfo) {
    let Some(reason) = names::of_given_up(info.replay()) else {
        return;
    };
    // If no key was refused, no replay was needed.
    let is_refusal =
        |attempted: &AttemptRecord| matches!(attempted.verdict(), Verdict::Failover(_));
    if info.history().any(is_refusal) {
        info!(target: TARGET, provider = named(pool), reason, "replay given up");
    } else {
        debug!(target: TARGET, provider = named(pool), reason, "replay given up");
    }
}

pub(super) fn on_attempt(pool: &str, attempt: &Attempt, picked_by: PickedBy) {
    debug!(
        target: TARGET,
        provider = named(pool),
        key.hint = attempt.hint(),
        key.label = attempt.label(),
        key.group = attempt.key().group(),
        attempt = attempt.number(),
        picked_by = picked_by.as_str(),
        "key picked"
    );
}

/// The value of the field `provider`, which a pool without a name does not have.
fn named(pool: &str) -> Option<&str> {
    Some(pool).filter(|name| !name.is_empty())
}

/// A field that lists keys by their labels, or by their hints if they have no label.
struct Keys<'a>(&'a [KeyName]);

impl fmt::Debug for Keys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self
            .0
            .iter()
            .map(|key| key.label.as_ref().unwrap_or(&key.hint));
        f.debug_list().entries(names).finish()
    }
}
