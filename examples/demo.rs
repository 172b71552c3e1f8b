//! Shows how requests survive refused keys. Everything runs on loopback without setup.
//!
//! An upstream knows three keys: one is rate-limited, one is revoked, one is good. A gateway (axum,
//! this crate's layer and hyper-util's client) holds all three. For each request of a caller, the
//! demo prints the attempts with their keys, the response, its timing, and the state of the pool. It
//! exits with status 1 if a step fails.
//!
//! ```text
//! cargo run --example demo
//! ```

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::error_handling::HandleErrorLayer;
use axum::extract::State;
use axum::http::{HeaderMap, Request, Response, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::post;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tower::{ServiceBuilder, service_fn};
use tower_key_failover::policy::Provider;
use tower_key_failover::pool::KeyState;
use tower_key_failover::{BoxError, KeyFailoverLayer, KeyPool, RequestBody};

const LIMITED: &str = "sk-ant-demo-limited-1111";
const REVOKED: &str = "sk-ant-demo-revoked-2222";
const GOOD: &str = "sk-ant-demo-good-3333";
const CALLERS_OWN: &str = "sk-ant-demo-of-the-caller";

/// The attempts that the upstream has received since they were last printed.
type Attempts = Arc<Mutex<Vec<String>>>;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => {
            println!("\nEvery step passed.");
            ExitCode::SUCCESS
        }
        Ok(false) => {
            println!("\nA step failed.");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<bool, BoxError> {
    let good_key_works = Arc::new(AtomicBool::new(true));
    let upstream = serve(upstream(Arc::clone(&good_key_works))).await?;

    let pool = KeyPool::builder()
        .labeled_key("limited", LIMITED)
        .labeled_key("revoked", REVOKED)
        .labeled_key("good", GOOD)
        .build()?;
    let pool = Arc::new(pool);
    let attempts = Attempts::default();
    let gateway = serve(gateway(upstream, Arc::clone(&pool), Arc::clone(&attempts))).await?;
    let mut demo = Demo {
        caller: Client::builder(TokioExecutor::new()).build_http(),
        gateway,
        pool,
        attempts,
        steps: 0,
        all_well: true,
    };

    demo.step("A plain request meets a rate-limited and a revoked key");
    let response = demo.send("/v1/messages", None).await?;
    demo.expect(
        response.status == 200 && response.attempts == 3,
        "the caller gets one good response",
    );
    demo.expect_pool([cooling_down, permanent, valid]);

    demo.step("A stream: events arrive as the upstream sends them");
    let response = demo.send("/v1/stream", None).await?;
    demo.expect(
        response.first_byte + Duration::from_millis(100) < response.complete,
        "the first event arrived long before the last",
    );
    demo.expect_pool([cooling_down, permanent, valid]);

    demo.step("BYOK: the caller's own key is refused");
    let response = demo.send("/v1/messages", Some(CALLERS_OWN)).await?;
    demo.expect(
        response.status == 401 && response.attempts == 1,
        "the refusal is forwarded unchanged",
    );
    demo.expect_pool([cooling_down, permanent, valid]);

    demo.step("The last good key is rate-limited too, for a second");
    good_key_works.store(false, Ordering::Relaxed);
    let response = demo.send("/v1/messages", None).await?;
    demo.expect(
        response.status == 429 && response.retry_after.as_deref() == Some("1"),
        "the response tells the caller when the first key returns",
    );
    demo.expect_pool([cooling_down, permanent, cooling_down]);

    demo.step("Until then, nothing is sent upstream");
    let response = demo.send("/v1/messages", None).await?;
    demo.expect(
        response.status == 429 && response.attempts == 0,
        "the gateway responds by itself",
    );

    demo.step("After the second, the key is usable again");
    good_key_works.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let response = demo.send("/v1/messages", None).await?;
    demo.expect(
        response.status == 200,
        "the caller gets a good response again",
    );
    demo.expect_pool([cooling_down, permanent, valid]);

    Ok(demo.all_well)
}

/// The gateway. This is a complete proxy.
fn gateway(upstream: String, pool: Arc<KeyPool>, attempts: Attempts) -> Router {
    // The inner service sees every attempt. The body knows the key of the attempt.
    let client = Client::builder(TokioExecutor::new()).build_http();
    let inner = service_fn(move |request: Request<RequestBody<Body>>| {
        let (client, attempts) = (client.clone(), Arc::clone(&attempts));
        async move {
            let who = match request.body().attempt() {
                Some(attempt) => {
                    let label = attempt.label().unwrap_or("-");
                    format!(
                        "attempt {}, key {label} {}",
                        attempt.number(),
                        attempt.hint()
                    )
                }
                None => "one attempt, the caller's key".to_owned(),
            };
            let sent = Instant::now();
            let response = client.request(request).await?;
            let line = format!(
                "{who:37} {} in {}",
                response.status().as_u16(),
                ms(since(sent))
            );
            attempts.lock().expect("no panic while locked").push(line);
            Ok::<_, hyper_util::client::legacy::Error>(response)
        }
    });
    let service = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(async |_| StatusCode::BAD_GATEWAY))
        .map_request(move |mut request: Request<Body>| {
            let target = format!("{upstream}{}", request.uri().path());
            *request.uri_mut() = target.parse().expect("a path on a known host");
            request.headers_mut().remove("host");
            request
        })
        .layer(KeyFailoverLayer::new(Provider::anthropic(), pool))
        .service(inner);
    Router::new().fallback_service(service)
}

/// The provider. Its response depends only on the key.
fn upstream(good_key_works: Arc<AtomicBool>) -> Router {
    async fn plain(good: State<Arc<AtomicBool>>, headers: HeaderMap) -> Response<Body> {
        refusal(&headers, &good).unwrap_or_else(|| r#"{"text":"hello"}"#.into_response())
    }
    async fn stream(good: State<Arc<AtomicBool>>, headers: HeaderMap) -> Response<Body> {
        refusal(&headers, &good).unwrap_or_else(|| {
            let events = futures_util::stream::unfold(0, |sent| async move {
                if sent > 0 {
                    tokio::time::sleep(Duration::from_millis(80)).await;
                }
                let event = Bytes::from(format!("data: word {sent}\n\n"));
                (sent < 4).then_some((Ok::<_, std::io::Error>(event), sent + 1))
            });
            let events = Body::from_stream(events);
            ([("content-type", "text/event-stream")], events).into_response()
        })
    }
    Router::new()
        .route("/v1/messages", post(plain))
        .route("/v1/stream", post(stream))
        .with_state(good_key_works)
}

fn refusal(headers: &HeaderMap, good_key_works: &AtomicBool) -> Option<Response<Body>> {
    let key = headers.get("x-api-key").and_then(|key| key.to_str().ok());
    let (status, wait) = match key {
        Some(GOOD) if good_key_works.load(Ordering::Relaxed) => return None,
        Some(GOOD) => (StatusCode::TOO_MANY_REQUESTS, "1"),
        Some(LIMITED) => (StatusCode::TOO_MANY_REQUESTS, "30"),
        _ => return Some(StatusCode::UNAUTHORIZED.into_response()),
    };
    Some((status, [("retry-after", wait)]).into_response())
}

/// The caller, which prints and checks the steps.
struct Demo {
    caller: Client<HttpConnector, Body>,
    gateway: String,
    pool: Arc<KeyPool>,
    attempts: Attempts,
    steps: usize,
    all_well: bool,
}

struct Received {
    status: u16,
    retry_after: Option<String>,
    attempts: usize,
    first_byte: Duration,
    complete: Duration,
}

impl Demo {
    fn step(&mut self, title: &str) {
        self.steps += 1;
        println!("\n{}. {title}", self.steps);
    }

    async fn send(&self, path: &str, own_key: Option<&str>) -> Result<Received, BoxError> {
        let mut request = Request::post(format!("{}{path}", self.gateway).parse::<Uri>()?);
        if let Some(key) = own_key {
            request = request.header("x-api-key", key);
        }
        let sent = Instant::now();
        let response = self.caller.request(request.body(Body::from("{}"))?).await?;
        let attempts: Vec<String> = std::mem::take(
            self.attempts
                .lock()
                .expect("no panic while locked")
                .as_mut(),
        );
        for attempt in &attempts {
            println!("  {attempt}");
        }
        let (head, mut body) = response.into_parts();
        let status = head.status.as_u16();
        println!("  {:37} {status} after {}", "response", ms(since(sent)));
        let mut first_byte = None;
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                let arrived = since(sent);
                first_byte.get_or_insert(arrived);
                let text = String::from_utf8_lossy(&data);
                println!("    at {}: {}", ms(arrived), text.trim());
            }
        }
        let complete = since(sent);
        let retry_after = head.headers.get("retry-after");
        Ok(Received {
            status,
            retry_after: retry_after.and_then(|wait| Some(wait.to_str().ok()?.to_owned())),
            attempts: attempts.len(),
            first_byte: first_byte.unwrap_or(complete),
            complete,
        })
    }

    fn expect(&mut self, holds: bool, what: &str) {
        println!("  {} {what}", if holds { "ok  " } else { "FAIL" });
        self.all_well &= holds;
    }

    fn expect_pool(&mut self, states: [fn(KeyState) -> bool; 3]) {
        let mut as_expected = true;
        let shown: Vec<_> = std::iter::zip(self.pool.keys(), states)
            .map(|(key, expected)| {
                let state = key.state();
                as_expected &= expected(state);
                let state = match state {
                    KeyState::Valid => "valid".to_owned(),
                    KeyState::Temporary { retry_after } => {
                        format!("cooling down for {:.1} s", retry_after.as_secs_f64())
                    }
                    _ => "permanently marked".to_owned(),
                };
                format!("{} {state}", key.label().unwrap_or("-"))
            })
            .collect();
        self.expect(as_expected, &format!("the pool: {}", shown.join(", ")));
    }
}

fn valid(state: KeyState) -> bool {
    state == KeyState::Valid
}

fn cooling_down(state: KeyState) -> bool {
    matches!(state, KeyState::Temporary { .. })
}

fn permanent(state: KeyState) -> bool {
    state == KeyState::Permanent
}

fn since(start: Instant) -> Duration {
    Instant::now().saturating_duration_since(start)
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

async fn serve(router: Router) -> Result<String, BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, router).await });
    Ok(address)
}
