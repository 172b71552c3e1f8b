//! What became of the last requests that did not go through with the first key at once.
//!
//! Told of are method and path, and of a key its label and ends: a query may hold a secret.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{Method, StatusCode, Uri};
use serde_json::{Value, json};
use tower_key_failover::policy::{Mark, Reason, Verdict};
use tower_key_failover::{AttemptRecord, FailoverInfo, Outcome, Replay};

/// How many are kept.
const KEPT: usize = 50;

/// How much of a path is kept, in characters.
const PATH: usize = 200;

/// The last failovers, the latest last. They are kept as text: a handle to a key would keep it in
/// memory after its removal.
#[derive(Default)]
pub struct Failovers {
    last: Mutex<VecDeque<Value>>,
}

/// What is to be told of a request, kept while it goes out.
pub struct Asked {
    method: Method,
    target: Uri,
}

impl Asked {
    pub fn new(method: &Method, target: &Uri) -> Self {
        Self {
            method: method.clone(),
            target: target.clone(),
        }
    }

    fn path(&self) -> String {
        let path = self.target.path();
        let mut shown: String = path.chars().take(PATH).collect();
        if shown.len() < path.len() {
            shown.push('…');
        }
        shown
    }
}

impl Failovers {
    pub fn add(&self, asked: &Asked, status: StatusCode, info: &FailoverInfo) {
        let attempts: Vec<Value> = info.history().map(attempt).collect();
        let told = json!({
            "time_ms": millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
            "method": asked.method.as_str(),
            "path": asked.path(),
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
        last.push_back(told);
    }

    /// The latest first.
    pub fn show(&self) -> Value {
        self.last().iter().rev().cloned().collect()
    }

    fn last(&self) -> std::sync::MutexGuard<'_, VecDeque<Value>> {
        // It is whole between any two of its changes.
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

/// What the refusal did to its key.
fn kind(mark: Mark) -> &'static str {
    let is = |other: Mark| mark.because(Reason::Other) == other.because(Reason::Other);
    match () {
        () if is(Mark::keep()) => "keep",
        () if is(Mark::permanent()) => "permanent",
        () => "temporary",
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
