//! A hostile provider.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use tokio::sync::watch;
use tower_key_failover::BoxError;

use crate::connections::{Ends, Protocol};
use crate::key::{End, SoakKey};
use crate::keys::{Keys, REPLICAS, route_of, scope_of};
use crate::ledger::{Ledger, UpstreamResponse};
use crate::payload::Payload;
use crate::random::Random;
use crate::responses::{Plan, Refusal, When, failure, refusal, success};
use crate::upload::{Upload, text};

/// The client token of the gateway, which no upstream may see.
pub const TOKEN: &str = "token-of-the-soaking-clients";

#[derive(Debug)]
pub struct Upstream {
    pub name: &'static str,
    pub keys: Keys,
    pub protocol: Protocol,
    seed: u64,
    ledger: Arc<Ledger>,
    /// Set when the upstream must respond with success, or refuse keys that are no longer valid.
    calm: AtomicBool,
    pub closed: watch::Sender<bool>,
}

/// The caller's own key for this request.
pub fn own_key(number: u64) -> String {
    format!("own-{number:016x}")
}

impl Upstream {
    pub fn new(
        name: &'static str,
        protocol: Protocol,
        keys: Keys,
        seed: u64,
        ledger: Arc<Ledger>,
    ) -> Self {
        Self {
            name,
            protocol,
            keys,
            seed,
            ledger,
            calm: AtomicBool::new(false),
            closed: watch::Sender::new(false),
        }
    }

    pub fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    /// Closes every connection.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// An error aborts the request: by closing the connection in HTTP/1.1, by a reset in HTTP/2.
    pub async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        ends: Arc<Ends>,
    ) -> Result<Response<Payload>, BoxError> {
        let (head, body) = request.into_parts();
        let number = self.number(&head.headers)?;
        if head.uri.path() != format!("/at-{}/v1/responses", route_of(number)) {
            let path = head.uri.path();
            let told = format!("request {number} came to {path}");
            self.ledger.violation(told);
        }
        let replica = self.replica(number, &head.headers);
        let (plan, key, mut random) = self.plan(number, &head.headers);
        let in_flight = key.map(|key| key.in_flight[replica].enter());
        let mut upload = Upload::new(number, &head.headers, body)?;
        let read = match plan.when() {
            When::AtOnce => 0,
            When::InTheMiddle => upload.length / 2,
            When::AtTheEnd => u64::MAX,
        };
        if upload.read(read).await? {
            upload.arrived(&self.ledger);
        } else if random.percent(50) {
            // Keep reading the upload, or abort it.
            tokio::spawn(upload.read_on(Arc::clone(&self.ledger)));
        }
        let noted = |response| self.ledger.responded(number, response);
        let response = match plan {
            Plan::Refuse(how, _) => {
                noted(match how {
                    Refusal::Scope
                    | Refusal::Model
                    | Refusal::Ended(End::Revoked | End::Forbidden) => UpstreamResponse::Refused,
                    _ => UpstreamResponse::Limited,
                });
                refusal(number, how, key, replica, &mut random)
            }
            Plan::Fail(_) | Plan::FailWithoutEnd => {
                noted(UpstreamResponse::Other);
                failure(number, plan)
            }
            Plan::CutBefore => return Err("aborted".into()),
            Plan::Hang => pending().await,
            Plan::Kill => {
                ends.kill.notify_one();
                pending().await
            }
            Plan::Succeed | Plan::SucceedLate | Plan::Stutter | Plan::CutWithin | Plan::Leave => {
                match plan {
                    Plan::SucceedLate => tokio::time::sleep(random.millis(20..300)).await,
                    Plan::Leave => ends.leave.notify_one(),
                    _ => {}
                }
                // In HTTP/2, other requests can end the connection.
                let can_break = plan == Plan::CutWithin || self.protocol == Protocol::Http2;
                noted(match can_break {
                    true => UpstreamResponse::MayBreak,
                    false => UpstreamResponse::Success,
                });
                success(number, plan, &mut random)
            }
        };
        Ok(match in_flight {
            Some(request) => response.map(|body| request.until_end_of(body)),
            None => response,
        })
    }

    fn number(&self, headers: &HeaderMap) -> Result<u64, BoxError> {
        let number = text(headers, "x-soak-number").parse();
        Ok(number.inspect_err(|_| self.ledger.violation("a request without a number"))?)
    }

    /// The replica that the client has chosen.
    fn replica(&self, number: u64, headers: &HeaderMap) -> usize {
        let replica = text(headers, "x-soak-replica").parse().ok();
        replica.filter(|at| *at < REPLICAS).unwrap_or_else(|| {
            let told = format!("request {number} came from no replica");
            self.ledger.violation(told);
            0
        })
    }

    /// Records the attempt, and decides how to respond.
    fn plan(&self, number: u64, headers: &HeaderMap) -> (Plan, Option<&SoakKey>, Random) {
        let shown = text(headers, AUTHORIZATION.as_str());
        let shown = shown.strip_prefix("Bearer ").unwrap_or(shown);
        let key = self.keys.find(shown);
        let is_foreign = |value: &str| value.contains(TOKEN) || value.contains("soak-h");
        let leaks = headers.iter().any(|(name, value)| {
            name != AUTHORIZATION && is_foreign(&String::from_utf8_lossy(value.as_bytes()))
        });
        if leaks || key.is_none() && shown != own_key(number) {
            let told = format!("request {number} came to {} with {headers:?}", self.name);
            self.ledger.violation(told);
        }
        if key.is_some_and(SoakKey::should_be_unused) {
            let told = format!("request {number} came with a key that is gone: {key:?}");
            self.ledger.violation(told);
        }
        if key.is_some_and(|key| key.route != route_of(number)) {
            let told = format!("request {number} came with a key of another route: {key:?}");
            self.ledger.violation(told);
        }
        self.ledger.attempt(number, shown);

        let which = shown
            .bytes()
            .fold(0, |sum, byte| sum * 31 % 1_000_003 + u64::from(byte));
        let mut random = Random::of([self.seed, number, which]);
        let drawn = Plan::draw(&mut random);
        let is_calm = self.calm.load(Ordering::Relaxed);
        let plan = match key.and_then(|key| key.ended(is_calm, scope_of(number))) {
            Some(end) => Plan::Refuse(Refusal::Ended(end), When::AtTheEnd),
            None if is_calm => Plan::Succeed,
            // Such a refusal lasts for ten minutes, and strategies spread them over all keys.
            None if matches!(drawn, Plan::Refuse(Refusal::Model, _))
                && key.is_some_and(SoakKey::is_sturdy) =>
            {
                Plan::Succeed
            }
            None => drawn,
        };
        (plan, key, random)
    }
}
