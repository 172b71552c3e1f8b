//! How the upstream responds to a request: randomly, unless its key is no longer valid.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, response};
use serde_json::json;

use crate::key::{End, SoakKey};
use crate::payload::{Checksum, Part, Payload, content, payload, pieces};
use crate::random::Random;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    Succeed,
    SucceedLate,
    /// Succeeds in pieces, with a pause.
    Stutter,
    /// Aborts a successful response.
    CutWithin,
    Refuse(Refusal, When),
    /// Responds with an error that is not about the key.
    Fail(u16),
    FailWithoutEnd,
    /// Closes the connection without a response.
    CutBefore,
    Hang,
    /// Succeeds, and closes the connection gracefully.
    Leave,
    /// Aborts the connection with all its requests.
    Kill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A short rate limit.
    ForAMoment,
    /// A short rate limit whose body is cut.
    BrokenOff,
    /// A short rate limit whose body never ends.
    WithoutEnd,
    /// This request only: the key is good.
    Scope,
    Model,
    Ended(End),
}

/// How much of the upload the upstream reads before it responds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    AtOnce,
    InTheMiddle,
    AtTheEnd,
}

impl Plan {
    pub fn draw(random: &mut Random) -> Self {
        let mut left = random.within(0..1000);
        let mut is = |share| match left.checked_sub(share) {
            Some(rest) => {
                left = rest;
                false
            }
            None => {
                left = u64::MAX;
                true
            }
        };
        match () {
            () if is(80) => Self::SucceedLate,
            () if is(20) => Self::Stutter,
            () if is(40) => Self::CutWithin,
            () if is(40) => Self::Refuse(Refusal::ForAMoment, When::AtTheEnd),
            () if is(40) => Self::Refuse(Refusal::ForAMoment, When::InTheMiddle),
            () if is(30) => Self::Refuse(Refusal::ForAMoment, When::AtOnce),
            () if is(15) => Self::Refuse(Refusal::BrokenOff, When::AtTheEnd),
            () if is(15) => Self::Refuse(Refusal::WithoutEnd, When::AtTheEnd),
            () if is(30) => Self::Refuse(Refusal::Scope, When::AtTheEnd),
            () if is(30) => Self::Refuse(Refusal::Model, When::AtTheEnd),
            () if is(20) => Self::Fail(500),
            () if is(10) => Self::Fail(402),
            () if is(10) => Self::Fail(429),
            () if is(10) => Self::Fail(404),
            () if is(10) => Self::FailWithoutEnd,
            () if is(40) => Self::CutBefore,
            () if is(5) => Self::Hang,
            () if is(20) => Self::Leave,
            () if is(3) => Self::Kill,
            () => Self::Succeed,
        }
    }

    pub fn when(self) -> When {
        match self {
            Self::Refuse(_, when) => when,
            // Ignore what an early end leaves unread.
            Self::CutBefore | Self::Kill => When::InTheMiddle,
            _ => When::AtTheEnd,
        }
    }
}

fn head(number: u64, status: u16) -> response::Builder {
    Response::builder()
        .status(status)
        .header("x-soak-number", number)
}

/// A success that the client can match to its request.
pub fn success(number: u64, plan: Plan, random: &mut Random) -> Response<Payload> {
    let length = random.within(0..64 << 10) as usize;
    let data = content(number ^ 1, length);
    let checksum = Checksum::of(number, &data);
    let parts = match plan {
        Plan::Stutter => {
            let mut parts = pieces(data, random);
            let wait = Part::Wait(random.millis(100..600));
            parts.insert(parts.len() / 2, wait);
            parts
        }
        Plan::CutWithin => cut(data.slice(..length / 2)),
        _ => vec![Part::Data(data)],
    };
    let response = head(number, 200).header("x-soak-checksum", checksum);
    response.body(payload(parts)).expect("a valid head")
}

/// Aborts after head and data have been sent. With an immediate error, hyper would not send them.
fn cut(data: Bytes) -> Vec<Part> {
    let wait = Part::Wait(Duration::from_millis(20));
    vec![Part::Data(data), wait, Part::Cut]
}

/// A refusal. It is recorded for the key first.
pub fn refusal(
    number: u64,
    refusal: Refusal,
    key: Option<&SoakKey>,
    replica: usize,
    random: &mut Random,
) -> Response<Payload> {
    // Replicas share some of the limits, and some are too short for that.
    let wait = random.millis(20..500);
    let limited = |response: response::Builder, note: Option<Duration>| {
        if let (Some(key), Some(wait)) = (key, note) {
            key.says_limited(wait);
        }
        response
    };
    let permanent = |response: response::Builder| {
        if let Some(key) = key {
            key.says_permanent(replica);
        }
        response
    };
    let error = |message: &str, code: &str| {
        let error = json!({ "error": { "message": message, "type": "error", "code": code } });
        Bytes::from(error.to_string())
    };
    let (response, parts) = match refusal {
        Refusal::ForAMoment | Refusal::BrokenOff | Refusal::WithoutEnd => {
            let response = limited(head(number, 429), Some(wait));
            let response = match random.within(0..3) {
                0 => response.header("retry-after", wait.as_secs_f64().to_string()),
                1 => response
                    .header("retry-after", "-1")
                    .header("x-amz-retry-after", wait.as_millis() as u64),
                _ => response.header("retry-after-ms", wait.as_millis() as u64),
            };
            let body = error("Too many requests", "rate_limit_exceeded");
            let parts = match refusal {
                Refusal::BrokenOff => cut(body.slice(..20)),
                Refusal::WithoutEnd => vec![Part::WithoutEnd(content(number, 4096))],
                _ => vec![Part::Data(body)],
            };
            (response, parts)
        }
        Refusal::Scope => {
            let body = error("You have insufficient permissions. Missing scopes: x", "");
            (head(number, 401), vec![Part::Data(body)])
        }
        Refusal::Model => {
            if let Some(key) = key {
                key.says_model_refused(replica);
            }
            let body = error("No access to this model", "model_not_found");
            (head(number, 403), vec![Part::Data(body)])
        }
        Refusal::Ended(End::Revoked) => {
            let body = error("Incorrect API key provided", "invalid_api_key");
            (permanent(head(number, 401)), vec![Part::Data(body)])
        }
        Refusal::Ended(End::Forbidden) => {
            let body = error("Forbidden", "forbidden");
            (permanent(head(number, 403)), vec![Part::Data(body)])
        }
        Refusal::Ended(End::Limited) => {
            let body = error("Too many requests", "rate_limit_exceeded");
            let default = Some(Duration::from_secs(60));
            (limited(head(number, 429), default), vec![Part::Data(body)])
        }
        Refusal::Ended(End::Quota) => {
            let body = error("You exceeded your quota", "insufficient_quota");
            let default = Some(Duration::from_secs(3600));
            (limited(head(number, 429), default), vec![Part::Data(body)])
        }
    };
    response.body(payload(parts)).expect("a valid head")
}

/// A response that is not about the key.
pub fn failure(number: u64, plan: Plan) -> Response<Payload> {
    let (status, part) = match plan {
        Plan::FailWithoutEnd => (500, Part::WithoutEnd(content(number, 4096))),
        // The provider is overloaded.
        Plan::Fail(429) => {
            let body = json!({ "error": { "code": "server_is_overloaded" } }).to_string();
            (429, Part::Data(body.into()))
        }
        Plan::Fail(status) => (status, Part::Data("failed".into())),
        _ => (500, Part::Data("unplanned".into())),
    };
    let response = head(number, status);
    response.body(payload(vec![part])).expect("a valid head")
}
