//! An upstream whose response depends on the path, and clients that send requests at a fixed rate.

use std::future::Future;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::support::{Gateway, Start, Upstream, client, gateway, post, soon, upstream_with};

/// How often an attacker sends a request, and how often good traffic does.
const ATTACK: Duration = Duration::from_millis(100);
const GOOD_TRAFFIC: Duration = Duration::from_millis(50);

/// The number of requests that an attacker and the good traffic send.
const ATTACKS: usize = 20;
const GOOD_REQUESTS: usize = 40;

/// What a time limit allows for other load on the machine. The tests in `library.rs` are exact.
pub const BUSY_MACHINE: Duration = Duration::from_secs(1);

/// The path of requests that succeed with every key.
pub const GOOD_PATH: &str = "/v1/good";

/// The key at this position.
pub fn key(at: usize) -> String {
    format!("sk-hostile-{at:02}-0123456789")
}

/// Starts a gateway with this number of keys, and an admin listener.
pub async fn start(upstream: &Upstream, keys: usize) -> Gateway {
    start_with(upstream, keys, |start| start).await
}

pub async fn start_with(
    upstream: &Upstream,
    keys: usize,
    configure: impl FnOnce(Start) -> Start,
) -> Gateway {
    let keys: Vec<String> = (0..keys).map(key).collect();
    let start = gateway("openai", &upstream.url)
        .env("GATEWAY_KEYS", &keys.join(","))
        .admin();
    configure(start).listen().await
}

/// A provider that responds to each path in its own way:
///
/// - `/odd/STATUS` with this status and an empty body;
/// - `/edge`, `/stall`, `/cut` and `/large` with a 403 and such a body;
/// - `/owned/KEY` with success if `KEY` ends the key, and with 403 otherwise;
/// - every other path with success.
///
/// Keys that end with `dead-401` or `dead-403` get this status on every path.
pub async fn provider() -> Upstream {
    upstream_with(respond).await
}

async fn respond(request: Request<Body>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let key = request.headers()["authorization"].clone();
    let _ = request.into_body().collect().await;
    let forbidden = Response::builder().status(403);
    let response = match path.trim_start_matches('/').split_once('/') {
        Some(("odd", status)) => Response::builder().status(status).body(Body::empty()),
        Some(("owned", owner)) if !key.to_str().unwrap().ends_with(owner) => {
            forbidden.body(Body::empty())
        }
        _ if key.to_str().unwrap().ends_with("dead-401") => {
            Response::builder().status(401).body(Body::empty())
        }
        _ if key.to_str().unwrap().ends_with("dead-403") => forbidden.body(Body::empty()),
        _ => match &*path {
            "/edge" => forbidden
                .header("content-type", "text/plain")
                .body("error code: 1010".into()),
            "/stall" => forbidden
                .header("content-type", "application/json")
                .header("content-length", "64")
                .body(body(Some(Duration::from_millis(1100)), vec![b' '; 63])),
            "/cut" => forbidden
                .header("content-type", "application/json")
                .header("content-length", "64")
                .body(body(None, Vec::new())),
            "/large" => forbidden
                .header("content-type", "application/json")
                .body(format!("{{\"error\":\"{}\"}}", "x".repeat(65 << 10)).into()),
            _ => Ok(Response::new("fine".into())),
        },
    };
    response.unwrap()
}

/// One byte, and after a pause the rest. Without a pause, an error follows.
fn body(pause: Option<Duration>, rest: Vec<u8>) -> Body {
    let start = stream::iter([Ok(Bytes::from_static(b"{"))]);
    let end = stream::once(async move {
        match pause {
            Some(pause) => {
                sleep(pause).await;
                Ok(Bytes::from(rest))
            }
            None => {
                // Let the head and the first byte leave before the connection closes.
                sleep(Duration::from_millis(20)).await;
                Err(std::io::Error::other("cut"))
            }
        }
    });
    Body::from_stream(start.chain(end))
}

/// A client of the gateway, which keeps its connections.
#[derive(Clone)]
pub struct Caller {
    client: Client<HttpConnector, Body>,
    url: String,
}

impl Caller {
    pub fn new(gateway: &Gateway) -> Self {
        Self {
            client: client(),
            url: gateway.url.clone(),
        }
    }

    /// Sends a request, and returns the status of the response.
    pub async fn send(&self, path: &str) -> u16 {
        self.try_send(path).await.expect("a response")
    }

    /// Sends a request, and returns the status of the response, if there is one.
    pub async fn try_send(&self, path: &str) -> Option<u16> {
        let request = post(&format!("{}{path}", self.url));
        let response = soon(self.client.request(request)).await.ok()?;
        let status = response.status().as_u16();
        let _ = soon(response.into_body().collect()).await;
        Some(status)
    }

    /// Sends a request, and disconnects after this time.
    pub async fn abandon(&self, path: &str, after: Duration) {
        let request = post(&format!("{}{path}", self.url));
        // Dropping the client closes its connections.
        let response = client().request(request);
        let _ = tokio::time::timeout(after, response).await;
    }

    /// Sends good requests at a fixed rate, and returns how many of them fail.
    pub async fn good_traffic(&self) -> usize {
        let statuses = self.send_regularly(GOOD_PATH, GOOD_TRAFFIC, GOOD_REQUESTS);
        statuses
            .await
            .iter()
            .filter(|status| **status != 200)
            .count()
    }

    /// Sends requests to `path` ten times per second, and returns their statuses.
    pub async fn attack(&self, path: &str) -> Vec<u16> {
        self.send_regularly(path, ATTACK, ATTACKS).await
    }

    async fn send_regularly(&self, path: &str, every: Duration, count: usize) -> Vec<u16> {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut requests = Vec::new();
        for _ in 0..count {
            ticks.tick().await;
            let (caller, path) = (self.clone(), path.to_owned());
            requests.push(tokio::spawn(async move { caller.send(&path).await }));
        }
        let statuses = join_all(requests).await.into_iter();
        statuses.map(Result::unwrap).collect()
    }

    /// Sends good requests until one succeeds, and returns how long this takes.
    pub async fn recovers(&self) -> Duration {
        let start = Instant::now();
        soon(async {
            while self.send(GOOD_PATH).await != 200 {
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        Instant::now().saturating_duration_since(start)
    }
}

/// Runs `scenario` with 1, 2, 3 and 10 keys at the same time.
pub async fn with_key_counts<F: Future>(scenario: impl Fn(usize) -> F) {
    join_all([1, 2, 3, 10].map(scenario)).await;
}
