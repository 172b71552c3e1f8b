//! The last requests that needed more than one attempt, or that no key could serve.
//!
//! A record contains the method and the path, and the label and hint of each key. It leaves out the
//! query, which may contain a secret.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{Method, StatusCode, Uri};
use serde_json::{Value, json};
use tower_key_failover::policy::{Mark, MarkKind, Verdict};
use tower_key_failover::{AttemptRecord, FailoverInfo, Outcome, Replay};

/// The number of records to keep.
const KEPT: usize = 50;

/// The longest path to keep, in characters.
const MAX_PATH: usize = 200;

/// The last failovers, the latest one last. They are stored as JSON, because a handle to a key would
/// keep a removed key in memory.
#[derive(Default)]
pub struct Failovers {
    last: Mutex<VecDeque<Value>>,
}

/// The part of a request that a record contains, kept while the request is in flight.
pub struct RequestSummary {
    method: Method,
    target: Uri,
}

impl RequestSummary {
    pub fn new(method: &Method, target: &Uri) -> Self {
        Self {
            method: method.clone(),
            target: target.clone(),
        }
    }

    fn path(&self) -> String {
        let path = self.target.path();
        let mut shown: String = path.chars().take(MAX_PATH).collect();
        if shown.len() < path.len() {
            shown.push('…');
        }
        shown
    }
}

impl Failovers {
    pub fn add(
        &self,
        route: &str,
        request: &RequestSummary,
        status: StatusCode,
        info: &FailoverInfo,
    ) {
        let attempts: Vec<Value> = info.history().map(attempt).collect();
        let record = json!({
            "time_ms": millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
            "route": route,
            "method": request.method.as_str(),
            "path": request.path(),
            "status": status.as_u16(),
            "outcome": outcome(info.outcome()),
            "replay": replay(info.replay()),
            "waited_ms": millis(info.waited()),
            "attempts": attempts,
        });
        let mut last = self.last();
        if last.len() == KEPT {
            last.pop_front();
        }
        last.push_back(record);
    }

    /// The records as JSON, the latest one first.
    pub fn to_json(&self) -> Value {
        self.last().iter().rev().cloned().collect()
    }

    fn last(&self) -> std::sync::MutexGuard<'_, VecDeque<Value>> {
        // A panic cannot leave it half changed.
        self.last.lock().unwrap_or_else(|error| error.into_inner())
    }
}

fn attempt(attempt: &AttemptRecord) -> Value {
    let (verdict, reason) = match attempt.verdict() {
        Verdict::Failover(mark) => (kind(mark), Some(mark.reason(attempt.status()).as_str())),
        _ => ("forward", None),
    };
    json!({
        "label": attempt.label(),
        "hint": attempt.hint(),
        "status": attempt.status().as_u16(),
        "verdict": verdict,
        "reason": reason,
        "took_ms": attempt.elapsed().map(millis),
    })
}

/// What the refusal did to the key.
fn kind(mark: Mark) -> &'static str {
    match mark.kind() {
        MarkKind::Keep => "keep",
        MarkKind::Suspect => "suspect",
        MarkKind::Temporary(_) => "temporary",
        MarkKind::Permanent => "permanent",
        _ => "other",
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Forwarded => "forwarded",
        Outcome::Exhausted => "exhausted",
        _ => "other",
    }
}

fn replay(replay: Replay) -> &'static str {
    match replay {
        Replay::Available => "available",
        Replay::NotNeeded => "not_needed",
        Replay::TooLarge => "too_large",
        Replay::OverBudget => "over_budget",
        Replay::BodyFailed => "body_failed",
        _ => "other",
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
