//! The outcome of each request, as seen by its client and by the upstream.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub struct Ledger {
    records: Mutex<HashMap<u64, Record>>,
    last: AtomicU64,
    violations: AtomicUsize,
    uploads: AtomicUsize,
}

#[derive(Debug, Default)]
struct Record {
    /// Whether the request has its own key.
    own: bool,
    attempts: Vec<Attempt>,
    outcome: Option<Outcome>,
}

#[derive(Debug)]
struct Attempt {
    key: String,
    /// `None` without a response.
    response: Option<UpstreamResponse>,
}

/// How the upstream responded to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamResponse {
    /// A refusal of the key.
    Refused,
    /// A rate limit. Once it is over, the request may try the key again.
    Limited,
    /// A success that arrives completely, unless the client leaves.
    Success,
    /// A success that is cut, or whose connection can end before.
    MayBreak,
    /// Any other response.
    Other,
}

/// What the client received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// A complete success from the upstream.
    Success,
    /// Another complete response from the upstream.
    Forwarded(u16),
    /// The layer's response that no key is left.
    Exhausted(u16),
    /// The gateway's response that the upstream failed.
    GatewayFailed,
    /// No response, or an incomplete one.
    FailedBeforeTheResponse,
    FailedInTheBody,
    Cancelled,
    GaveUpWaiting,
    GaveUpReading,
}

impl Outcome {
    fn class(self) -> &'static str {
        match self {
            Self::Success | Self::Forwarded(_) | Self::Exhausted(_) | Self::GatewayFailed => {
                "responded"
            }
            Self::FailedBeforeTheResponse | Self::FailedInTheBody => "failed",
            Self::Cancelled | Self::GaveUpWaiting | Self::GaveUpReading => "cancelled",
        }
    }
}

impl Ledger {
    /// Records a violation.
    pub fn violation(&self, what: impl AsRef<str>) {
        if self.violations.fetch_add(1, Ordering::Relaxed) < 20 {
            println!("VIOLATION: {}", what.as_ref());
        }
    }

    pub fn violations(&self) -> usize {
        self.violations.load(Ordering::Relaxed)
    }

    fn records(&self) -> MutexGuard<'_, HashMap<u64, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a request that is about to be sent.
    pub fn begin(&self, own: impl Fn(u64) -> bool) -> u64 {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let own = own(number);
        let record = Record {
            own,
            ..Record::default()
        };
        self.records().insert(number, record);
        number
    }

    /// Records an attempt. It follows refusals only, and tries a key again only after a rate limit.
    pub fn attempt(&self, number: u64, key: &str) {
        let mut records = self.records();
        let Some(record) = records.get_mut(&number) else {
            return self.violation(format!("request {number} was never sent"));
        };
        let is_allowed = record.attempts.iter().all(|attempt| {
            let is_possible = match attempt.response {
                Some(UpstreamResponse::Limited) => true,
                Some(UpstreamResponse::Refused) => attempt.key != key,
                _ => false,
            };
            !record.own && is_possible
        });
        record.attempts.push(Attempt {
            key: key.to_owned(),
            response: None,
        });
        if !is_allowed {
            let told = format!("request {number} was sent again: {:?}", record.attempts);
            drop(records);
            self.violation(told);
        }
    }

    /// Records the response to an attempt, before it is sent.
    pub fn responded(&self, number: u64, response: UpstreamResponse) {
        if let Some(record) = self.records().get_mut(&number)
            && let Some(attempt) = record.attempts.last_mut()
        {
            attempt.response = Some(response);
        }
    }

    /// Checks a body that the upstream has received completely.
    pub fn uploaded(&self, number: u64, expected: &str, checksum: &str) {
        self.uploads.fetch_add(1, Ordering::Relaxed);
        if expected != checksum {
            self.violation(format!(
                "the body of request {number} did not arrive as it was sent"
            ));
        }
    }

    /// The key of the last attempt.
    pub fn last_key(&self, number: u64) -> Option<String> {
        let records = self.records();
        let last = records.get(&number)?.attempts.last()?;
        Some(last.key.clone())
    }

    pub fn end(&self, number: u64, outcome: Outcome) {
        let mut records = self.records();
        let record = records.get_mut(&number).expect("the request is registered");
        let before = record.outcome.replace(outcome);
        let told = record.contradicts(outcome).map(|why| {
            let attempts = &record.attempts;
            format!("request {number} ended as {outcome:?}, but {why}: {attempts:?}")
        });
        drop(records);
        if let Some(before) = before {
            self.violation(format!(
                "request {number} ended twice: {before:?}, {outcome:?}"
            ));
        }
        if let Some(told) = told {
            self.violation(told);
        }
    }

    /// Counts the outcomes, and checks that each request has one.
    pub fn summary(&self) -> Summary {
        let records = self.records();
        let mut summary = Summary {
            sent: records.len(),
            attempts: records.values().map(|record| record.attempts.len()).sum(),
            uploads: self.uploads.load(Ordering::Relaxed),
            ..Summary::default()
        };
        for (number, record) in records.iter() {
            summary.failovers += usize::from(record.attempts.len() > 1);
            summary.own += usize::from(record.own);
            match record.outcome {
                Some(outcome) => {
                    *summary.outcomes.entry(outcome).or_default() += 1;
                    *summary.classes.entry(outcome.class()).or_default() += 1;
                }
                None => self.violation(format!("request {number} has no outcome")),
            }
        }
        if summary.classes.values().sum::<usize>() != summary.sent {
            self.violation("a request is missing");
        }
        summary
    }
}

impl Record {
    fn contradicts(&self, outcome: Outcome) -> Option<&'static str> {
        let last = self.attempts.last().and_then(|attempt| attempt.response);
        let is_success = matches!(
            last,
            Some(UpstreamResponse::Success | UpstreamResponse::MayBreak)
        );
        let is_refused = |attempt: &Attempt| {
            let response = attempt.response;
            matches!(
                response,
                Some(UpstreamResponse::Refused | UpstreamResponse::Limited)
            )
        };
        match outcome {
            Outcome::Success if !is_success => Some("the upstream sent no success"),
            Outcome::Forwarded(_) if is_success || last.is_none() => {
                Some("the upstream sent no such response")
            }
            // Not even if the replica is stopped meanwhile.
            Outcome::FailedBeforeTheResponse | Outcome::FailedInTheBody
                if last == Some(UpstreamResponse::Success) =>
            {
                Some("the upstream sent a success")
            }
            Outcome::Exhausted(_) if !self.attempts.iter().all(is_refused) => {
                Some("not every key was refused")
            }
            Outcome::Exhausted(_) if self.own => Some("the request has its own key"),
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
pub struct Summary {
    pub sent: usize,
    pub attempts: usize,
    pub failovers: usize,
    pub uploads: usize,
    pub own: usize,
    pub outcomes: BTreeMap<Outcome, usize>,
    pub classes: BTreeMap<&'static str, usize>,
}
