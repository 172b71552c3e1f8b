//! Clients over HTTP/1.1 and HTTP/2. They are slow, and disconnect at any time.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use http::{Request, response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tower_key_failover::BoxError;

use crate::connections::Protocol;
use crate::keys::{ROUTES, SCOPES, replica_of, route_of, scope_of};
use crate::ledger::{Ledger, Outcome};
use crate::payload::{Checksum, LONGEST, Part, Payload, content, payload, pieces};
use crate::random::Random;
use crate::replica::Replica;
use crate::upload::text;
use crate::upstream::{TOKEN, own_key};

/// Longer than any response takes to start.
const PATIENCE: Duration = Duration::from_secs(4);
/// Longer than any response takes to end.
const LONGEST_ANSWER: usize = 1 << 20;
/// The number of sessions.
pub const SESSIONS: u64 = 20;

type HttpClient = Client<HttpConnector, Payload>;

#[derive(Clone)]
pub struct Traffic {
    pub seed: u64,
    pub ledger: Arc<Ledger>,
    pub replicas: Arc<[Replica]>,
}

impl Traffic {
    /// Sends one request after another.
    pub async fn run(self, protocol: Protocol, until: Instant) {
        let mut client = client(protocol);
        while Instant::now() < until {
            let number = self.ledger.begin(|number| self.has_own_key(number));
            let mut random = Random::of([self.seed, number, 1]);
            if random.percent(3) {
                client = self::client(protocol);
            }
            let outcome = tokio::select! {
                outcome = self.exchange(&client, number, &mut random) => outcome,
                () = self.goes_away(number) => Outcome::Cancelled,
                () = sleep(PATIENCE) => Outcome::GaveUpWaiting,
            };
            self.ledger.end(number, outcome);
        }
    }

    /// Sends well-behaved requests to a replica, which must all get a response.
    pub async fn ask_well(&self, protocol: Protocol, times: usize, replica: usize) {
        let client = client(protocol);
        for _ in 0..times {
            // Without a session, so that each key has its turn.
            self.ask(&client, replica, None).await;
        }
    }

    /// Sends a request of a session to each route and for each scope. Returns their numbers, and the keys that served them.
    pub async fn ask_in_session(&self, session: u64, replica: usize) -> Vec<(u64, Option<String>)> {
        let client = client(Protocol::Http1);
        let mut keys = Vec::new();
        for _ in 0..ROUTES.len() * SCOPES.len() {
            let number = self.ask(&client, replica, Some(session)).await;
            keys.push((number, self.ledger.last_key(number)));
        }
        keys
    }

    /// Sends a request that must succeed. Returns its number.
    async fn ask(&self, client: &HttpClient, replica: usize, session: Option<u64>) -> u64 {
        let number = self.ledger.begin(|_| false);
        let mut random = Random::of([self.seed, number, 1]);
        // Short enough to be sent again.
        let length = random.within(0..200_000);
        let outcome = match self.request(number, replica, TOKEN, length, &mut random) {
            None => Outcome::FailedBeforeTheResponse,
            Some(mut request) => {
                if let Some(session) = session {
                    belongs_to(&mut request, session);
                }
                tokio::select! {
                    outcome = self.send(client, number, request) => outcome,
                    () = sleep(PATIENCE) => Outcome::GaveUpWaiting,
                }
            }
        };
        self.ledger.end(number, outcome);
        if outcome != Outcome::Success {
            let told = format!("request {number} ended as {outcome:?} when all was well");
            self.ledger.violation(told);
        }
        number
    }

    fn has_own_key(&self, number: u64) -> bool {
        Random::of([self.seed, number, 2]).percent(5)
    }

    async fn goes_away(&self, number: u64) {
        let mut random = Random::of([self.seed, number, 3]);
        match random.percent(12) {
            true => sleep(random.millis(0..400)).await,
            false => std::future::pending().await,
        }
    }

    async fn exchange(&self, client: &HttpClient, number: u64, random: &mut Random) -> Outcome {
        let shown = match self.has_own_key(number) {
            true => own_key(number),
            false => TOKEN.to_owned(),
        };
        let replica = replica_of(number);
        // While a replica is replaced, the other one is there.
        let length = length(random);
        let request = self.request(number, replica, &shown, length, random);
        let request = request.or_else(|| self.request(number, 1 - replica, &shown, length, random));
        let Some(mut request) = request else {
            return Outcome::FailedBeforeTheResponse;
        };
        if random.percent(30) {
            belongs_to(&mut request, random.within(0..SESSIONS));
        }
        self.send(client, number, request).await
    }

    async fn send(&self, client: &HttpClient, number: u64, request: Request<Payload>) -> Outcome {
        let Ok(response) = client.request(request).await else {
            return Outcome::FailedBeforeTheResponse;
        };
        let (head, mut body) = response.into_parts();
        match read(&mut body).await {
            Ok(Some(data)) => self.judge(number, &head, &data),
            Ok(None) => Outcome::GaveUpReading,
            Err(_) => Outcome::FailedInTheBody,
        }
    }

    /// `None` if no client should use the replica.
    fn request(
        &self,
        number: u64,
        replica: usize,
        shown: &str,
        length: u64,
        random: &mut Random,
    ) -> Option<Request<Payload>> {
        let url = self.replicas[replica].url()?;
        let data = content(number, length as usize);
        let (route, scope) = (route_of(number), scope_of(number));
        let mut request = Request::post(format!("{url}/{route}/v1/responses"))
            .header("x-soak-replica", replica)
            .header("x-soak-scope", scope)
            .header(AUTHORIZATION, format!("Bearer {shown}"))
            .header("x-soak-number", number)
            .header("x-soak-length", length)
            .header("x-soak-checksum", Checksum::of(number, &data));
        if random.percent(50) {
            request = request.header(CONTENT_LENGTH, length);
        }
        let parts = match random.percent(30) {
            true => pieces(data, random),
            false => vec![Part::Data(data)],
        };
        Some(request.body(payload(parts)).expect("a valid head"))
    }

    /// Classifies a complete response.
    fn judge(&self, number: u64, head: &response::Parts, data: &[u8]) -> Outcome {
        let status = head.status.as_u16();
        let told_number = text(&head.headers, "x-soak-number");
        if told_number.is_empty() {
            let told: Value = serde_json::from_slice(data).unwrap_or_default();
            let message = told["error"]["message"].as_str().unwrap_or_default();
            if message.starts_with("all configured keys") {
                return Outcome::Exhausted(status);
            }
            if !message.starts_with("the upstream ") {
                self.wrong(number, &format!("is from nobody: {head:?} {told}"));
            }
            return Outcome::GatewayFailed;
        }
        if told_number != number.to_string() {
            self.wrong(number, &format!("is that to {told_number}"));
        }
        if status != 200 {
            return Outcome::Forwarded(status);
        }
        if text(&head.headers, "x-soak-checksum") != Checksum::of(number, data) {
            self.wrong(number, "differs from what was sent");
        }
        Outcome::Success
    }

    fn wrong(&self, number: u64, why: &str) {
        self.ledger
            .violation(format!("the response to request {number} {why}"));
    }
}

fn length(random: &mut Random) -> u64 {
    match random.within(0..100) {
        0..10 => 0,
        10..60 => random.within(1..2000),
        60..97 => random.within(2000..200_000),
        _ => random.within(200_000..LONGEST as u64),
    }
}

fn belongs_to(request: &mut Request<Payload>, session: u64) {
    let headers = request.headers_mut();
    headers.insert("x-soak-session", session.into());
}

/// Collects a body, with a time limit.
async fn read(body: &mut Incoming) -> Result<Option<BytesMut>, BoxError> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            read.extend_from_slice(data);
        }
        if read.len() > LONGEST_ANSWER {
            return Ok(None);
        }
    }
    Ok(Some(read))
}

fn client(protocol: Protocol) -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .http2_only(protocol == Protocol::Http2)
        .build(connector)
}
