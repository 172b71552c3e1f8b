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

use crate::keys::{route_of, scope_of};
use crate::ledger::{Ledger, Outcome};
use crate::payload::{Checksum, LONGEST, Part, Payload, content, payload, pieces};
use crate::random::Random;
use crate::upload::text;
use crate::upstream::{Protocol, TOKEN, own_key};

/// Longer than any response takes to start.
const PATIENCE: Duration = Duration::from_secs(4);
/// Longer than any response takes to end.
const LONGEST_ANSWER: usize = 1 << 20;

type HttpClient = Client<HttpConnector, Payload>;

#[derive(Clone, Debug)]
pub struct Traffic {
    pub seed: u64,
    pub ledger: Arc<Ledger>,
    /// The address of the gateway.
    pub url: String,
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

    /// Sends well-behaved requests, which must all get a response.
    pub async fn ask_well(self, protocol: Protocol, times: usize) {
        let client = client(protocol);
        for _ in 0..times {
            let number = self.ledger.begin(|_| false);
            let mut random = Random::of([self.seed, number, 1]);
            // Without a session, so that each key has its turn.
            let request = self.request(number, TOKEN, &mut random);
            let asked = self.send(&client, number, request);
            let outcome = tokio::select! {
                outcome = asked => outcome,
                () = sleep(PATIENCE) => Outcome::GaveUpWaiting,
            };
            self.ledger.end(number, outcome);
            if outcome != Outcome::Success {
                let told = format!("request {number} ended as {outcome:?} when all was well");
                self.ledger.violation(told);
            }
        }
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
        let mut request = self.request(number, &shown, random);
        if random.percent(30) {
            let session = random.within(0..20);
            request
                .headers_mut()
                .insert("x-soak-session", session.into());
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

    fn request(&self, number: u64, shown: &str, random: &mut Random) -> Request<Payload> {
        let length = match random.within(0..100) {
            0..10 => 0,
            10..60 => random.within(1..2000),
            60..97 => random.within(2000..200_000),
            _ => random.within(200_000..LONGEST as u64),
        };
        let data = content(number, length as usize);
        let (route, scope) = (route_of(number), scope_of(number));
        let mut request = Request::post(format!("{}/{route}/v1/responses", self.url))
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
        request.body(payload(parts)).expect("a valid head")
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
