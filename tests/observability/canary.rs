//! No key gets out: canaries are planted, every path is gone, and all that is emitted on the way is
//! searched for them in every encoding.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response, StatusCode, request, response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::ext::ReasonPhrase;
use tokio::time::advance;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_http::trace::{DefaultMakeSpan, DefaultOnRequest, DefaultOnResponse, TraceLayer};
use tower_key_failover::policy::{BodyEvidence, Grpc, Provider, ReadLimit, Scope, Success};
use tower_key_failover::pool::{Exhausted, Key, NewKey};
use tower_key_failover::{
    BoxError, KeyFailoverLayer, KeyPool, KeyPoolBuilder, Mark, Outcome, ProviderPolicy,
    ReplayBudget, RequestBody, Verdict,
};
use tracing::Level;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::recorder::TestRecorder;

type Body = Full<Bytes>;

/// What is random of each key. The ends are shown in hints; these are not.
const SECRETS: [&str; 4] = [
    "jV9w/+Zq=7%tR \"x~Lm3{Kd}?s",
    "r2DfXk6oJhM1zBqYs3LcVnE8gUw",
    "Hc4&yN8=bG'u+W/0pQ<e>%5aT;v",
    "Ao5:PiS|9dTj^C4lRb`7xKe,F0m",
];

fn key(at: usize) -> String {
    format!("sk-canary-{at}-{}-wxyz", SECRETS[at])
}

/// All that was emitted by any test.
static EMITTED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Emitted;

impl Write for Emitted {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let mut emitted = EMITTED.lock().unwrap_or_else(PoisonError::into_inner);
        emitted.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn emit(text: impl fmt::Display) {
    // Written at once: other tests emit at the same time.
    Emitted.write_all(format!("{text}\n").as_bytes()).unwrap();
}

fn emit_debug(value: impl fmt::Debug) {
    emit(format_args!("{value:?}\n{value:#?}"));
}

/// The policy, once its `Debug` is in the log.
fn shown(policy: impl ProviderPolicy + fmt::Debug) -> Arc<dyn ProviderPolicy> {
    emit_debug(&policy);
    Arc::new(policy)
}

fn emit_error(error: &(dyn Error + 'static)) {
    let mut next = Some(error);
    while let Some(error) = next {
        emit(format_args!("{error} {error:?} {error:#?}"));
        next = error.source();
    }
}

/// A key in all encodings. In base64 what stands around it decides how its bytes fall into groups of
/// three.
fn encodings(secret: &str) -> Vec<String> {
    let hex = |byte: u8| format!("{byte:02x}");
    let percent = |hex: &dyn Fn(u8) -> String| -> String {
        let encode = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{}", hex(byte)),
        };
        secret.bytes().map(encode).collect()
    };
    let every_byte: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let digits: String = secret.bytes().map(hex).collect();
    let mut encodings = vec![
        secret.to_owned(),
        percent(&hex),
        percent(&|byte| hex(byte).to_ascii_uppercase()),
        every_byte,
        digits.to_ascii_uppercase(),
        digits,
    ];
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(secret.as_bytes());
        let whole = bytes.len() / 3 * 3;
        let from = (before * 8).div_ceil(6);
        for alphabet in [&BASE64_STANDARD, &BASE64_URL_SAFE] {
            encodings.push(alphabet.encode(&bytes[..whole])[from..].to_owned());
        }
    }
    encodings
}

/// The encodings, and how it would be printed.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = encodings(secret);
    let bytes = format!("{:?}", secret.as_bytes());
    let json = serde_json::to_string(secret).unwrap();
    forms.extend([
        secret.escape_debug().to_string(),
        json.trim_matches('"').to_owned(),
        bytes.trim_matches(['[', ']']).to_owned(),
    ]);
    forms
}

fn leaked(text: &str) -> Option<String> {
    let mut needles = SECRETS.into_iter().flat_map(|secret| {
        let parts = secret.as_bytes().chunks(9);
        let parts = parts.map(|part| String::from_utf8(part.to_vec()).unwrap());
        forms(secret).into_iter().chain(parts)
    });
    needles.find(|needle| text.contains(needle))
}

/// Searches all that was emitted until now.
#[track_caller]
fn assert_nothing_leaked(markers: &[&str]) {
    let emitted = EMITTED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let emitted = String::from_utf8_lossy(&emitted);
    for marker in markers {
        assert!(
            emitted.contains(marker),
            "nothing was emitted of {marker:?}"
        );
    }
    if let Some(needle) = leaked(&emitted) {
        let at = emitted.find(&needle).unwrap();
        let from = emitted[..at]
            .char_indices()
            .rev()
            .nth(300)
            .map_or(0, |(at, _)| at);
        panic!(
            "a key got out, as {needle:?}: {}",
            &emitted[from..at + needle.len()]
        );
    }
}

/// Does `work` with everything listened to, and time paused.
fn listen<F: Future>(work: F) -> F::Output {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            emit(panic);
            emit_debug(panic);
            default(panic);
        }));
    });
    crate::keep_a_second_subscriber();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::TRACE)
        .with_span_events(FmtSpan::FULL)
        // Other members of a workspace can enable colors, which separate names and values.
        .with_ansi(false)
        .with_writer(|| Emitted)
        .finish();
    let _logs = tracing::subscriber::set_default(subscriber);
    let recorder = TestRecorder::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let output = metrics::with_local_recorder(&recorder, || runtime.block_on(work));
    emit_debug(recorder.take());
    emit_debug(&recorder);
    output
}

fn builder(keys: usize) -> KeyPoolBuilder {
    let builder = KeyPool::builder().name("canaries");
    (0..keys).fold(builder, |builder, at| {
        builder.labeled_key(format!("label-{at}"), key(at))
    })
}

fn pool(keys: usize) -> Arc<KeyPool> {
    Arc::new(builder(keys).build().unwrap())
}

/// Everything that a pool shows.
fn show(pool: &KeyPool) {
    emit_debug(pool);
    emit_debug(pool.snapshot());
    emit_debug(pool.states());
    emit_debug(pool.keys().collect::<Vec<_>>());
    for key in pool.keys() {
        emit_debug((
            key.header_value(),
            key.bearer(),
            key.hint(),
            key.label(),
            key.group(),
        ));
    }
    let mut walker = pool.walker();
    emit_debug(&walker);
    match walker.next_key() {
        Ok(key) => emit_debug(key),
        Err(exhausted) => emit_error(&exhausted),
    }
    emit_debug(&walker);
    emit_debug(pool.save());
    emit(serde_json::to_string_pretty(&pool.save()).unwrap());
    pool.record_metrics();
}

/// Layers that log whatever they are shown.
fn logs()
-> TraceLayer<tower_http::classify::SharedClassifier<tower_http::classify::ServerErrorsAsFailures>>
{
    TraceLayer::new_for_http()
        .make_span_with(
            DefaultMakeSpan::new()
                .include_headers(true)
                .level(Level::TRACE),
        )
        .on_request(DefaultOnRequest::new().level(Level::TRACE))
        .on_response(
            DefaultOnResponse::new()
                .include_headers(false)
                .level(Level::TRACE),
        )
}

/// The canary that a request carries.
fn key_of(head: &request::Parts) -> String {
    let values = head
        .headers
        .values()
        .filter_map(|value| value.to_str().ok());
    let mut keys = values.flat_map(|value| (0..4).map(key).filter(move |key| value.contains(key)));
    keys.next().expect("an attempt has a key")
}

fn request(body: &'static str) -> Request<Body> {
    Request::post("http://upstream.test/v1/messages?a=b")
        .body(Full::from(body))
        .unwrap()
}

/// A refusal that says the key back: as it is, or in every encoding.
fn echo(status: u16, key: &str, is_plain: bool, is_compressed: bool) -> Response<Body> {
    let said = if is_plain {
        key.to_owned()
    } else {
        encodings(key).join(" ")
    };
    let says = [
        "rate_limit_exceeded",
        "insufficient_quota",
        "invalid_api_key",
        "permission_error",
    ][usize::from(status) % 4];
    let error = serde_json::json!({ "error": {
        "type": says, "code": says, "status": "PERMISSION_DENIED",
        "message": format!("incorrect API key provided: {said}. No access to this model."),
    }});
    let mut body = serde_json::to_vec(&error).unwrap();
    let redirect = format!("/login?keys={}", encodings(key)[1..4].join("&"));
    let mut response = Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("retry-after", "5")
        .header("grpc-status", "16")
        .header("x-echo", key)
        .header("location", redirect)
        .extension(ReasonPhrase::try_from(format!("Bad key {key}").into_bytes()).unwrap())
        .header("www-authenticate", format!("Bearer error=\"{key}\""));
    if is_compressed {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&body).unwrap();
        body = encoder.finish().unwrap();
        response = response.header("content-encoding", "gzip");
    }
    response.body(Full::from(body)).unwrap()
}

/// Sends one request, and prints everything that the layer reports, and the response if it is the
/// layer's own or an inspected refusal.
async fn send<S, R>(service: S, request: Request<Body>) -> Option<Outcome>
where
    S: Service<Request<Body>, Response = Response<tower_key_failover::ResponseBody<R>>>,
    S::Error: fmt::Debug,
    R: http_body::Body<Data = Bytes>,
    R::Error: fmt::Debug,
{
    let response = match service.oneshot(request).await {
        Ok(response) => response,
        Err(error) => {
            emit_debug(error);
            return None;
        }
    };
    emit_debug(response.body());
    let info = response.body().failover().unwrap().clone();
    emit_debug(&info);
    emit_debug(response.extensions());
    // The head of every response is free of keys.
    emit_debug(response.headers());
    for value in response.headers().values() {
        Emitted.write_all(value.as_bytes()).unwrap();
    }
    if let Some(reason) = response.extensions().get::<ReasonPhrase>() {
        Emitted.write_all(reason.as_bytes()).unwrap();
    }
    let last = info.history().last().map(|attempted| attempted.verdict());
    let is_kept = matches!(last, Some(Verdict::Failover(_)));
    if info.outcome() == Outcome::Exhausted || is_kept {
        let body = response.into_body().collect().await.unwrap();
        emit(String::from_utf8_lossy(&body.to_bytes()));
    }
    Some(info.outcome())
}

#[test]
fn the_search_finds_a_key_in_every_form() {
    for at in 0..4 {
        for form in forms(&key(at)) {
            assert!(leaked(&format!("before {form} after")).is_some(), "{form}");
        }
        let pool = pool(4);
        let hint = pool.keys().nth(at).unwrap().hint().to_owned();
        assert_eq!(leaked(&format!("label-{at} {hint}")), None);
    }
}

#[test]
fn no_output_contains_a_key_that_a_providers_refusal_echoes() {
    // Copilot requests always bring their own credential.
    let names = Provider::names()
        .filter(|name| *name != "copilot")
        .chain(["grpc"]);
    let mut outcomes = Vec::new();
    listen(async {
        for name in names {
            for status in [200, 400, 401, 402, 403, 404, 429, 500, 529] {
                for (is_plain, is_compressed) in [(true, false), (false, false), (true, true)] {
                    let policy: Arc<dyn ProviderPolicy> = match name {
                        "grpc" => shown(Grpc::new()),
                        _ => shown(Provider::named(name).unwrap()),
                    };
                    let pool = pool(3);
                    let provider =
                        service_fn(move |request: Request<RequestBody<Body>>| async move {
                            emit_debug(&request);
                            emit_debug(request.body().attempt());
                            let key = key_of(&request.into_parts().0);
                            Ok::<_, Infallible>(echo(status, &key, is_plain, is_compressed))
                        });
                    let failover = KeyFailoverLayer::new(policy, pool.clone())
                        .timings(true)
                        .extensions(true)
                        .commit_gate(4096, Duration::from_secs(1));
                    let service = failover.layer(logs().layer(provider));
                    outcomes.push(send(service, request("hello")).await);
                    show(&pool);
                }
            }
        }
    });
    assert!(outcomes.contains(&Some(Outcome::Exhausted)));
    assert!(outcomes.contains(&Some(Outcome::Forwarded)));
    assert_nothing_leaked(&[
        "key failover",
        "key marked temporary",
        "key marked permanent",
        "key pool exhausted",
        "key_pool_refused_attempt_seconds",
        "key_pool_state",
        "fingerprint",
        "RequestBody",
        "label-1",
        "Sensitive",
        "http.request.resend_count",
    ]);
}

#[test]
fn no_output_contains_a_key_that_is_suspected_convicted_or_trusted_again() {
    listen(async {
        let pool = pool(2);
        let mut events = pool.subscribe();
        let layer = KeyFailoverLayer::new(Provider::openai(), pool.clone())
            .timings(true)
            .extensions(true);
        // Refused with a 403 that explains nothing: with every key, with the first, with none.
        for refused in [2, 1, 0, 2] {
            let provider = service_fn(move |request: Request<RequestBody<Body>>| async move {
                let used = key_of(&request.into_parts().0);
                let is_refused = (0..refused).any(|at| key(at) == used);
                let mut response = echo(403, &used, true, false);
                *response.body_mut() = Full::from(r#"{"error":{"message":"no"}}"#);
                if !is_refused {
                    *response.status_mut() = StatusCode::OK;
                }
                Ok::<_, Infallible>(response)
            });
            send(layer.layer(logs().layer(provider)), request("hello")).await;
            show(&pool);
        }
        while let Some(event) = events.next_event().now_or_never().flatten() {
            emit_debug(event);
        }
    });
    assert_nothing_leaked(&[
        "key suspected",
        "key trusted again",
        "Suspected",
        "Trusted",
        "suspicions: 2",
        "key_pool_suspicions_total",
        "key_pool_suspected_keys",
    ]);
}

/// A policy that says all that it is shown, and may panic.
#[derive(Clone, Copy, Debug, Default)]
struct Talkative {
    panics_at: Option<&'static str>,
}

impl Talkative {
    fn at(self, place: &'static str) {
        if self.panics_at == Some(place) {
            panic!("a policy panics in {place}");
        }
    }
}

impl ProviderPolicy for Talkative {
    fn is_byok(&self, request: &request::Parts) -> bool {
        self.at("is_byok");
        request.headers.contains_key("x-key")
    }

    fn inject_key(&self, request: &mut request::Parts, key: &Key) {
        request.headers.insert("x-key", key.header_value());
        emit_debug((&*request, key));
        self.at("inject_key");
    }

    fn scope(&self, _: &request::Parts) -> Option<Scope> {
        self.at("scope");
        None
    }

    fn classify(&self, response: &response::Parts) -> Verdict {
        self.at("classify");
        match response.status.as_u16() {
            401 => Verdict::Failover(Mark::permanent()),
            403 => Verdict::Read(ReadLimit::refusal()),
            429 => Verdict::Failover(Mark::temporary(None)),
            _ => Verdict::Forward,
        }
    }

    fn classify_body(&self, _: &response::Parts, body: &BodyEvidence<'_>) -> Verdict {
        emit_debug(body);
        self.at("classify_body");
        Verdict::Failover(Mark::keep())
    }

    fn success(&self, response: &response::Parts) -> Success {
        Success::of_status(response.status)
    }

    fn success_in_body(&self, _: &response::Parts, _: &BodyEvidence<'_>) -> bool {
        false
    }

    fn exhausted_response(&self, exhausted: &Exhausted) -> Response<Bytes> {
        emit_error(exhausted);
        self.at("exhausted_response");
        let mut response = Response::new(exhausted.to_string().into());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        response
    }
}

fn refusing(
    status: u16,
) -> impl Service<
    Request<RequestBody<Body>>,
    Response = Response<Body>,
    Error = Infallible,
    Future: Send,
> + Clone
+ fmt::Debug {
    service_fn(move |request: Request<RequestBody<Body>>| async move {
        let (head, body) = request.into_parts();
        emit_debug(&body);
        let _ = body.collect().await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok::<_, Infallible>(echo(status, &key_of(&head), true, false))
    })
}

#[test]
fn no_output_contains_a_key_after_a_panic_in_a_policy() {
    for place in [
        "is_byok",
        "inject_key",
        "classify",
        "classify_body",
        "exhausted_response",
    ] {
        for status in [401, 403] {
            let policy = Talkative {
                panics_at: Some(place),
            };
            let pool = pool(2);
            let failover = KeyFailoverLayer::new(policy, pool.clone());
            let work = send(failover.layer(refusing(status)), request("hello"));
            let _ = catch_unwind(AssertUnwindSafe(|| listen(work)));
            show(&pool);
        }
    }
    assert_nothing_leaked(&[
        "a policy panics in inject_key",
        "a policy panics in classify_body",
    ]);
}

#[test]
fn no_output_contains_a_key_in_any_state_of_a_future() {
    listen(async {
        for status in [200, 401, 403, 429] {
            for polls in 0..12 {
                let pool = Arc::new(
                    builder(2)
                        .probe_after(Duration::from_secs(1))
                        .without_probe_jitter()
                        .build()
                        .unwrap(),
                );
                let layer = KeyFailoverLayer::new(Talkative::default(), pool.clone())
                    .wait_for_key(Duration::from_secs(120));
                emit_debug(&layer);
                let mut service = layer.layer(refusing(status));
                emit_debug(&service);
                let mut future = pin!(service.call(request("hello")));
                for _ in 0..polls {
                    emit_debug(&future);
                    if poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await {
                        break;
                    }
                    advance(Duration::from_secs(20)).await;
                }
                show(&pool);
            }
        }
    });
    assert_nothing_leaked(&["ResponseFuture", "wait_for_key"]);
}

#[test]
fn no_output_contains_a_key_after_a_failed_replay() {
    listen(async {
        for bytes in [0, 3] {
            let layer =
                KeyFailoverLayer::new(Talkative::default(), pool(2)).max_replay_bytes(bytes);
            send(layer.layer(refusing(429)), request("hello")).await;
            let budget = ReplayBudget::new(bytes);
            emit_debug(&budget);
            let layer = KeyFailoverLayer::new(Talkative::default(), pool(2)).replay_budget(budget);
            send(layer.layer(refusing(429)), request("hello")).await;
        }
        let failing = || {
            let frames = [
                Ok(Frame::data(Bytes::from("hello"))),
                Err(BoxError::from("it broke")),
            ];
            StreamBody::new(futures_util::stream::iter(frames))
        };
        // Reads it all at first, and goes on reading what was taken away from it.
        let kept = Arc::new(Mutex::new(Vec::new()));
        let provider = service_fn(|request: Request<RequestBody<_>>| {
            let kept = Arc::clone(&kept);
            async move {
                let (head, mut body) = request.into_parts();
                if let Some(Err(error)) = body.frame().await {
                    emit_error(&error);
                }
                kept.lock().unwrap().push(body);
                Ok::<_, Infallible>(echo(429, &key_of(&head), true, false))
            }
        });
        let layer = KeyFailoverLayer::new(Talkative::default(), pool(3));
        let response = layer
            .layer(provider)
            .oneshot(Request::new(failing()))
            .await
            .unwrap();
        emit_debug(response.body());
        let mut kept = std::mem::take(&mut *kept.lock().unwrap());
        assert_eq!(kept.len(), 3);
        for body in &mut kept {
            emit_debug(&*body);
            let mut cx = Context::from_waker(Waker::noop());
            while let Poll::Ready(Some(frame)) = Pin::new(&mut *body).poll_frame(&mut cx) {
                if let Err(error) = frame {
                    emit_error(&error);
                    break;
                }
            }
        }
    });
    assert_nothing_leaked(&[
        "replay given up",
        "Superseded",
        "key_pool_replay_disabled_total",
    ]);
}

#[test]
fn no_output_contains_a_key_after_a_transport_error() {
    listen(async {
        let provider = service_fn(|request: Request<RequestBody<Body>>| async move {
            let key = key_of(&request.into_parts().0);
            if key == self::key(0) {
                return Ok(echo(429, &key, true, false));
            }
            Err("no route")
        });
        let layer = KeyFailoverLayer::new(Talkative::default(), pool(2));
        let response = send(layer.layer(provider), request("hello")).await;
        assert_eq!(response, None);
    });
    assert_nothing_leaked(&["no route"]);
}

#[test]
fn no_output_contains_a_key_that_was_changed_saved_or_rejected() {
    listen(async {
        let pool = builder(2)
            .group("org")
            .probe_after(Duration::from_secs(60))
            .without_probe_jitter()
            .build()
            .unwrap();
        let mut events = pool.subscribe();
        emit_debug(&events);
        emit_debug(pool.disable("label-0"));
        emit_debug(pool.reinstate("label-0"));
        emit_debug(
            pool.keys()
                .next()
                .unwrap()
                .mark_temporary(Some(Duration::from_secs(5))),
        );
        emit_debug(pool.keys().nth(1).unwrap().mark_temporary(None));
        emit_debug(
            pool.keys()
                .nth(1)
                .unwrap()
                .mark_temporary(Some(Duration::from_secs(90))),
        );
        show(&pool);
        let other = builder(4).build().unwrap();
        emit_debug(other.restore(&pool.save()));
        show(&other);

        let new = || NewKey::new(key(2)).label("label-2").group("org");
        emit_debug(new());
        emit_debug(pool.replace_keys([new(), NewKey::new(key(1))]));
        emit_debug(pool.add_key(key(3)));
        emit_debug(pool.remove_key(0));
        for error in [
            pool.add_key(key(3)).err(),
            pool.add_key(format!("{}\n", key(0))).err(),
            pool.replace_keys([key(1), key(1)]).err(),
            KeyPool::new([key(0), key(0)]).err(),
            KeyPool::new([format!(" {}", key(0))]).err(),
        ] {
            emit_error(&error.unwrap());
        }
        emit_error(&pool.remove_key("label-9").unwrap_err());
        emit_error(&pool.disable(9).unwrap_err());
        emit_debug(builder(4));
        show(&pool);
        while let Some(event) = events.next_event().now_or_never().flatten() {
            emit_debug(event);
        }

        let mut saved = serde_json::to_value(pool.save()).unwrap();
        saved["salt"] = key(0).into();
        // The content of a damaged file may be printed: it is not a key of the pool.
        assert!(serde_json::from_value::<tower_key_failover::pool::SavedPool>(saved).is_err());
    });
    assert_nothing_leaked(&[
        "Changed",
        "Returned",
        "keys changed",
        "key returned to service",
        "extended=true",
    ]);
}
