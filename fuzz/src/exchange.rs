//! Whole requests against an arbitrary upstream, on a clock that only advances when every task waits.

use std::collections::VecDeque;
use std::io::Read;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use flate2::Compression;
use flate2::read::{GzDecoder, GzEncoder};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, request};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tower_key_failover::policy::{Grpc, Provider, ProviderPolicy, ReadLimit, Verdict};
use tower_key_failover::{
    FailoverInfo, KeyFailoverLayer, KeyPool, KeyPoolBuilder, KeyState, Mark, Outcome, ReplayBudget,
    RequestBody, ResponseBody,
};
use tower_layer::Layer;
use tower_service::Service;

use crate::judge::{Does, on_a_paused_clock};
use crate::response::PROVIDERS;

#[derive(Arbitrary, Debug)]
struct Case {
    provider: u8,
    peek: Option<u8>,
    on_unauthorized: Option<Override>,
    on_forbidden: Option<Override>,
    keys: Vec<KeyBefore>,
    max_attempts: Option<NonZeroUsize>,
    max_replay: Option<u16>,
    budget: Option<u16>,
    gate: Option<(u16, u8)>,
    extensions: bool,
    credential: Credential,
    connects: bool,
    tells_length: bool,
    upload: Vec<Piece>,
    responses: Vec<UpstreamResponse>,
    /// When the caller gives up.
    patience: Option<u16>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Override {
    Forward,
    Keep,
    Temporary(u8),
    Permanent,
    Inspect,
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum KeyBefore {
    Good,
    Limited,
    Revoked,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Credential {
    None,
    Bearer,
    ApiKey,
    GoogleKey,
    InQuery,
    EmptyBearer,
}

#[derive(Arbitrary, Debug)]
enum Piece {
    Bytes(u8),
    Kibibytes(u8),
    Wait(u8),
    Fail,
}

#[derive(Arbitrary, Debug)]
struct UpstreamResponse {
    /// How much of the upload the upstream reads first.
    reads: Reads,
    wait: u8,
    /// `None` is a transport error.
    head: Option<Head>,
}

#[derive(Arbitrary, Debug)]
enum Reads {
    All,
    Frames(u8),
}

#[derive(Arbitrary, Debug)]
struct Head {
    status: Status,
    fields: Vec<Field>,
    coding: Coding,
    body: Vec<Part>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Status {
    Ok,
    BadRequest,
    Unauthorized,
    PaymentRequired,
    Forbidden,
    TooManyRequests,
    Overloaded,
    Other(u16),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Coding {
    None,
    Gzip,
    /// The header says gzip and the body is plain.
    SaysGzip,
    Unknown,
}

#[derive(Arbitrary, Debug)]
enum Field {
    RetryAfter(i16),
    RetryAfterMillis(f64),
    RetryAt(u32),
    Remaining(bool),
    Reset(u16),
    Html,
    Json,
    Events,
    Grpc,
    GrpcStatus(u8),
    Pushback(i32),
    EchoInValue,
    EchoInBinary,
    Any(u8, Vec<u8>),
}

#[derive(Arbitrary, Debug)]
enum Part {
    Error(u8),
    Echo,
    Text(Vec<u8>),
    Kibibytes(u8),
    Wait(u8),
    Stall,
    Fail,
    Trailers(Vec<Field>),
}

/// Error bodies of providers, some with the key.
const ERRORS: [&str; 12] = [
    r#"{"error":{"type":"insufficient_quota","code":"insufficient_quota","message":"$KEY exceeded"}}"#,
    r#"{"type":"error","error":{"type":"permission_error","message":"no access for $KEY"}}"#,
    r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
    r#"{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#,
    r#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"$KEY"}}"#,
    r#"{"error":{"code":429,"details":[{"violations":[{"quotaId":"RequestsPerDay"}]}]}}"#,
    r#"{"error":{"details":[{"@type":"google.rpc.RetryInfo","retryDelay":"3.5s"}]}}"#,
    r#"{"error":{"message":"Please try again in 6m0s."}}"#,
    r#"{"__type":"com.amazon.coral#AccessDeniedException","message":"$KEY may not"}"#,
    "event: error\ndata: {\"error\":{\"type\":\"rate_limit_error\"}}\n\n",
    "data: {\"type\":\"message_start\"}\n\n",
    "<!doctype html>",
];

const CREDENTIALS: [&str; 5] = [
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "ocp-apim-subscription-key",
];

const OWN: &str = "a-client's-own-credential";

/// Longer than any request may take.
const TOO_LONG: Duration = Duration::from_secs(60 * 60);

pub fn run(input: &[u8]) {
    if let Ok(case) = Case::arbitrary_take_rest(Unstructured::new(input)) {
        on_a_paused_clock(case.run());
    }
}

fn key(at: usize) -> String {
    format!("sk-{at}-0123456789-{at}")
}

impl Case {
    fn provider(&self) -> &'static str {
        PROVIDERS[usize::from(self.provider) % PROVIDERS.len()]
    }

    fn policy(&self) -> Arc<dyn ProviderPolicy> {
        macro_rules! with_overrides {
            ($policy:expr) => {{
                let mut policy = $policy;
                if let Some(verdict) = self.on_unauthorized {
                    policy = policy.on_unauthorized(verdict.verdict());
                }
                if let Some(verdict) = self.on_forbidden {
                    policy = policy.on_forbidden(verdict.verdict());
                }
                Arc::new(policy)
            }};
        }
        match self.provider() {
            "grpc" => {
                let time = Duration::from_millis(10 * u64::from(self.peek.unwrap_or(0)));
                with_overrides!(Grpc::new().wait_for_first_frame(time))
            }
            name => with_overrides!(Provider::named(name).unwrap()),
        }
    }

    fn pool(&self) -> Arc<KeyPool> {
        let count = self.keys.len().clamp(1, 6);
        // A probe could follow in the same request, which may take an hour.
        let pool = KeyPool::builder().probe_after(None);
        let pool = (0..count).map(key).fold(pool, KeyPoolBuilder::key);
        let pool = pool.build().unwrap();
        for (key, before) in pool.keys().zip(&self.keys) {
            match before {
                KeyBefore::Good => {}
                KeyBefore::Limited => drop(key.mark_temporary(Some(TOO_LONG))),
                KeyBefore::Revoked => drop(key.mark_permanent()),
            }
        }
        Arc::new(pool)
    }

    fn max_attempts(&self) -> Option<NonZeroUsize> {
        NonZeroUsize::new(1 + self.max_attempts?.get() % 4)
    }

    fn request(&self) -> Request<Scripted> {
        let mut request = Request::new(self.upload());
        *request.method_mut() = match self.connects {
            true => Method::CONNECT,
            false => Method::POST,
        };
        let path = match self.credential {
            Credential::InQuery => format!("http://upstream.test/a?b=c&key={OWN}"),
            _ => "http://upstream.test/a?b=c".to_owned(),
        };
        *request.uri_mut() = path.parse().unwrap();
        let headers = request.headers_mut();
        headers.insert("x-app", HeaderValue::from_static("an app's"));
        let (name, value) = match self.credential {
            Credential::None | Credential::InQuery => return request,
            Credential::Bearer => ("authorization", format!("Bearer {OWN}")),
            Credential::ApiKey => ("x-api-key", OWN.to_owned()),
            Credential::GoogleKey => ("x-goog-api-key", OWN.to_owned()),
            Credential::EmptyBearer => ("authorization", "Bearer ".to_owned()),
        };
        headers.insert(name, value.parse().unwrap());
        request
    }

    fn upload(&self) -> Scripted {
        let mut at = 0;
        let mut bytes = |len: usize| {
            let data: Vec<u8> = (at..at + len).map(|at| (at % 251) as u8).collect();
            at += len;
            Event::Data(data.into())
        };
        let mut upload = Scripted::default();
        for piece in self.upload.iter().take(32) {
            upload.events.push_back(match piece {
                Piece::Bytes(len) => bytes((*len).into()),
                Piece::Kibibytes(len) => bytes(1024 * usize::from(len % 40)),
                Piece::Wait(time) => Event::Wait(Duration::from_millis((*time).into())),
                Piece::Fail => Event::Fail,
            });
        }
        if self.tells_length {
            upload.left = Some(upload.data().len());
        }
        upload
    }

    async fn run(self) {
        let (policy, pool) = (self.policy(), self.pool());
        let before = pool.states();
        let judged = Arc::<Mutex<Vec<Verdict>>>::default();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let wrapped = {
            let (judged, seen) = (Arc::clone(&judged), Arc::clone(&seen));
            policy.clone().map_verdict(move |_, _, verdict| {
                let attempts = seen.lock().unwrap().len();
                let mut judged = judged.lock().unwrap();
                // A stream that began well is judged twice.
                judged.resize(attempts - 1, Verdict::Forward);
                judged.push(verdict);
                verdict
            })
        };
        let mut layer =
            KeyFailoverLayer::new(wrapped, Arc::clone(&pool)).extensions(self.extensions);
        if let Some(attempts) = self.max_attempts() {
            layer = layer.max_attempts(attempts.get());
        }
        if let Some(bytes) = self.max_replay {
            layer = layer.max_replay_bytes(bytes.into());
        }
        let budget = ReplayBudget::new(self.budget.map_or(1 << 30, usize::from));
        layer = layer.replay_budget(budget.clone());
        if let Some((bytes, time)) = self.gate {
            let time = Duration::from_millis(10 * u64::from(time));
            layer = layer.commit_gate(bytes.into(), time);
        }
        let request = self.request();
        let (head, ()) = self.request().map(drop).into_parts();
        let is_byok = policy.is_byok(&head);
        let upload = self.upload();
        let patience = match self.patience {
            Some(time) => Duration::from_millis(time.into()),
            None => TOO_LONG,
        };
        let case = Arc::new(self);
        let mut service = layer.layer(Upstream {
            case: Arc::clone(&case),
            seen: Arc::clone(&seen),
        });

        let start = Instant::now();
        let result = timeout(patience, service.call(request)).await;
        drop(service);
        let is_late = Instant::now() >= start + TOO_LONG;
        assert!(!is_late, "the caller waits without a bound");
        let has_given_up = result.is_err();
        let response = match result {
            Ok(Ok(response)) => Some(response),
            // Marks still need an explanation.
            Err(_) | Ok(Err(Broken)) => None,
        };
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        let mut judged = judged.lock().unwrap().clone();
        judged.resize(seen.len(), Verdict::Forward);
        if is_byok {
            check_marks(&[], &[], &before, &pool, false);
            assert_eq!((seen.len(), judged[0]), (1, Verdict::Forward));
            assert_eq!(seen[0].head.headers, head.headers);
            assert_eq!(seen[0].head.uri, head.uri);
        } else {
            case.check_attempts(&seen, &judged, &before);
            check_marks(&seen, &judged, &before, &pool, has_given_up);
            let reads_all = |seen: &Seen| assert!(upload.data().starts_with(&seen.read));
            seen.iter().for_each(reads_all);
        }
        if let Some(response) = response {
            let last = seen.last().zip(judged.last().copied());
            case.check_response(response, last, seen.len(), &policy, is_byok)
                .await;
        }
        assert_eq!(budget.held(), 0, "the budget leaks");
    }

    fn check_attempts(&self, seen: &[Seen], judged: &[Verdict], before: &[KeyState]) {
        let valid = before.iter().filter(|state| **state == KeyState::Valid);
        assert!(seen.len() <= valid.count(), "more attempts than keys");
        if let Some(max) = self.max_attempts() {
            assert!(seen.len() <= max.get());
        }
        if self.connects {
            assert!(seen.len() <= 1);
        }
        for pair in seen.windows(2) {
            assert!(pair[0].key < pair[1].key, "keys out of order or repeated");
        }
        let suspicions = judged.iter().filter(|it| Does::of(**it) == Does::Suspect);
        assert!(suspicions.count() <= 3, "more than three suspicions");
        for (seen, verdict) in seen.iter().zip(judged).rev().skip(1) {
            let is_failover = matches!(verdict, Verdict::Failover(_));
            assert!(is_failover, "key {:?} was not refused", seen.key);
        }
    }

    async fn check_response(
        &self,
        response: Response<ResponseBody<Scripted>>,
        last: Option<(&Seen, Verdict)>,
        attempts: usize,
        policy: &dyn ProviderPolicy,
        is_byok: bool,
    ) {
        let (head, mut body) = response.into_parts();
        let info = body.failover().cloned();
        let debug = format!("{head:?} {body:?} {info:?}");
        assert_eq!(info.is_none(), is_byok);
        let received = Received::read(&mut body).await;

        let is_own = info
            .as_ref()
            .is_some_and(|info| info.outcome() == Outcome::Exhausted);
        if let Some(info) = &info {
            assert_eq!(info.attempts(), attempts);
            let is_told = attempts != 1 || self.extensions || is_own;
            assert_eq!(head.extensions.get::<FailoverInfo>().is_some(), is_told);
        }
        if is_own {
            assert!(matches!(head.status.as_u16(), 429 | 502) || self.provider() == "grpc");
            for at in 0..6 {
                let key = key(at);
                assert!(!contains(&received.data, key.as_bytes()));
                assert!(!debug.contains(&key), "{debug}");
            }
            assert!(received.trailers.is_none() && received.error.is_none());
        }
        let Some((last, verdict)) = last else {
            assert!(is_own, "no attempt was made");
            return;
        };
        let does = Does::of(verdict);
        let own = key(last.key.unwrap_or_default());
        let own = own.as_bytes();
        let sent = self.responses[last.at].head.as_ref().unwrap().build(own);
        let (sent_head, mut sent) = sent.into_parts();
        let asks_for_body = matches!(policy.classify(&sent_head), Verdict::Read(_));
        let is_read = asks_for_body && !is_byok;
        let is_encoded = sent_head.headers.contains_key("content-encoding");
        if is_own {
            assert!(
                matches!(does, Does::Temporary | Does::Permanent),
                "a response for nothing: {verdict:?}"
            );
            return;
        }
        assert!(
            matches!(does, Does::Forward | Does::Keep | Does::Suspect),
            "{verdict:?}"
        );
        assert_eq!(head.status, sent_head.status);
        // Each header arrives as it was sent, or is removed.
        for (name, value) in &head.headers {
            assert!(
                sent_head
                    .headers
                    .get_all(name)
                    .iter()
                    .any(|sent| sent == value)
            );
        }
        if is_byok {
            assert_eq!(head.headers, sent_head.headers);
        } else {
            for value in head.headers.values() {
                assert!(!contains(value.as_bytes(), own), "a key in {head:?}");
            }
            // What cannot be decoded is not searched, and what comes late or behind the first
            // 64 KiB streams through.
            let received_plain = match is_encoded {
                true => plain(&received.data),
                false => received.data.clone(),
            };
            if is_read && sent.is_there() && received_plain.len() < 64 * 1024 {
                assert!(!contains(&received_plain, own), "a key in the body");
                for value in received.trailers.iter().flat_map(HeaderMap::values) {
                    assert!(!contains(value.as_bytes(), own), "a key in the trailers");
                }
            }
        }
        // The whole body arrives in order, unless it is removed because of a key in it.
        let whole = Received::read(&mut sent).await;
        let is_removed = !is_byok && received.data.is_empty() && whole.data.len() >= own.len();
        assert!(is_removed || received.data == whole.data);
        assert!(is_removed || received.error == whole.error);
        assert!(is_removed || received.trailers.is_some() == whole.trailers.is_some());
        if let (Some(received), Some(whole)) = (&received.trailers, &whole.trailers) {
            for (name, value) in received {
                assert!(whole.get_all(name).iter().any(|sent| sent == value));
            }
        }
    }
}

/// Every mark comes from a verdict, and every verdict is applied. If the caller gave up before any of
/// the last body arrived, that verdict may be weaker: the key is not marked permanently.
fn check_marks(
    seen: &[Seen],
    judged: &[Verdict],
    before: &[KeyState],
    pool: &KeyPool,
    has_given_up: bool,
) {
    let last = seen.last().and_then(|seen| seen.key);
    let doubted = last.filter(|_| has_given_up);
    let has_succeeded = judged
        .last()
        .is_some_and(|last| Does::of(*last) == Does::Forward);
    let mut expected: Vec<_> = before.iter().map(|state| (*state, Does::Forward)).collect();
    for (seen, verdict) in seen.iter().zip(judged) {
        let (state, does) = &mut expected[seen.key.unwrap()];
        assert_eq!(*state, KeyState::Valid);
        *does = Does::of(*verdict);
    }
    for (at, ((before, does), state)) in expected.into_iter().zip(pool.states()).enumerate() {
        match (does, before, state) {
            (Does::Permanent, _, KeyState::Permanent) => {}
            (Does::Permanent, _, KeyState::Temporary { .. }) if doubted == Some(at) => {}
            // It may have ended already.
            (Does::Temporary, _, KeyState::Temporary { .. } | KeyState::Valid) => {}
            (Does::Forward | Does::Keep | Does::Suspect, KeyState::Valid, KeyState::Valid) => {}
            // Convicted by a success with another key.
            (Does::Suspect, KeyState::Valid, KeyState::Permanent) if has_succeeded => {}
            (Does::Forward, KeyState::Permanent, KeyState::Permanent) => {}
            (Does::Forward, KeyState::Temporary { .. }, KeyState::Temporary { .. }) => {}
            other => panic!("an unexplained mark: {other:?}"),
        }
    }
}

impl Override {
    fn verdict(self) -> Verdict {
        let mark = match self {
            Self::Forward => return Verdict::Forward,
            Self::Inspect => return Verdict::Read(ReadLimit::refusal()),
            Self::Keep => Mark::keep(),
            Self::Temporary(wait) => Mark::temporary(Some(Duration::from_secs(wait.into()))),
            Self::Permanent => Mark::permanent(),
        };
        Verdict::Failover(mark)
    }
}

impl Head {
    /// The response to an attempt with this key.
    fn build(&self, key: &[u8]) -> Response<Scripted> {
        let mut body = Scripted::default();
        for part in self.body.iter().take(16) {
            let data = match part {
                Part::Error(at) => {
                    let key = std::str::from_utf8(key).unwrap();
                    let error = ERRORS[usize::from(*at) % ERRORS.len()];
                    error.replace("$KEY", key).into_bytes()
                }
                Part::Echo => key.to_vec(),
                Part::Text(text) => text.clone(),
                Part::Kibibytes(len) => vec![b' '; 1024 * usize::from(len % 70)],
                Part::Wait(time) => {
                    let time = Duration::from_millis(10 * u64::from(*time));
                    body.events.push_back(Event::Wait(time));
                    continue;
                }
                Part::Stall => {
                    body.events.push_back(Event::Stall);
                    break;
                }
                Part::Fail => {
                    body.events.push_back(Event::Fail);
                    break;
                }
                Part::Trailers(fields) => {
                    let mut trailers = HeaderMap::new();
                    fields
                        .iter()
                        .for_each(|field| field.put(&mut trailers, key));
                    body.events.push_back(Event::Trailers(trailers));
                    break;
                }
            };
            body.events.push_back(Event::Data(data.into()));
        }
        let coding = match self.coding {
            Coding::None => None,
            Coding::Gzip => {
                body.gzip();
                Some("gzip")
            }
            Coding::SaysGzip => Some("gzip"),
            Coding::Unknown => Some("compress"),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status.code();
        let headers = response.headers_mut();
        self.fields.iter().for_each(|field| field.put(headers, key));
        match coding {
            Some(coding) => headers.insert("content-encoding", HeaderValue::from_static(coding)),
            None => headers.remove("content-encoding"),
        };
        response
    }
}

impl Status {
    fn code(self) -> StatusCode {
        let code = match self {
            Self::Ok => 200,
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::PaymentRequired => 402,
            Self::Forbidden => 403,
            Self::TooManyRequests => 429,
            Self::Overloaded => 529,
            Self::Other(code) => 100 + code % 500,
        };
        code.try_into().unwrap()
    }
}

impl Field {
    fn put(&self, headers: &mut HeaderMap, key: &[u8]) {
        let names = [
            "retry-after",
            "date",
            "content-type",
            "grpc-status",
            "grpc-status-details-bin",
            "grpc-message",
            "x-ratelimit-reset-requests",
            "anthropic-ratelimit-unified-status",
            "x-amzn-errortype",
            "x-any",
        ];
        let at = |seconds: u32| {
            let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds.into());
            httpdate::fmt_http_date(time)
        };
        let (name, value) = match self {
            Self::RetryAfter(seconds) => ("retry-after", seconds.to_string()),
            Self::RetryAfterMillis(millis) => ("retry-after-ms", millis.to_string()),
            Self::RetryAt(seconds) => {
                headers.insert("date", at(1 << 30).parse().unwrap());
                ("retry-after", at(*seconds))
            }
            Self::Remaining(any) => ("x-ratelimit-remaining-requests", u8::from(*any).to_string()),
            Self::Reset(seconds) => ("x-ratelimit-reset-requests", format!("{seconds}s")),
            Self::Html => ("content-type", "text/html".to_owned()),
            Self::Json => ("content-type", "application/json".to_owned()),
            Self::Events => ("content-type", "text/event-stream".to_owned()),
            Self::Grpc => ("content-type", "application/grpc".to_owned()),
            Self::GrpcStatus(code) => ("grpc-status", (code % 18).to_string()),
            Self::Pushback(millis) => ("grpc-retry-pushback-ms", millis.to_string()),
            Self::EchoInValue => {
                let value = [&b"key "[..], key].concat();
                headers.insert("x-echo", HeaderValue::from_bytes(&value).unwrap());
                return;
            }
            Self::EchoInBinary => {
                let value = HeaderValue::from_bytes(key).unwrap();
                headers.insert("x-echo-bin", value);
                return;
            }
            Self::Any(name, value) => {
                let name = names[usize::from(*name) % names.len()];
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    headers.append(name, value);
                }
                return;
            }
        };
        let name = HeaderName::from_static(name);
        headers.insert(name, value.parse().unwrap());
    }
}

/// A body that does what it is told.
#[derive(Default)]
struct Scripted {
    events: VecDeque<Event>,
    sleep: Option<Pin<Box<Sleep>>>,
    /// The length, where it tells one.
    left: Option<usize>,
}

enum Event {
    Data(Bytes),
    Wait(Duration),
    Stall,
    Fail,
    Trailers(HeaderMap),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken")
    }
}

impl std::error::Error for Broken {}

impl Scripted {
    /// All its data, whatever becomes of it.
    fn data(&self) -> Vec<u8> {
        let mut data = Vec::new();
        for event in &self.events {
            if let Event::Data(bytes) = event {
                data.extend_from_slice(bytes);
            }
        }
        data
    }

    /// Whether nothing makes its reader wait, and it comes to a good end.
    fn is_there(&self) -> bool {
        let there = |event: &Event| matches!(event, Event::Data(_) | Event::Trailers(_));
        self.events.iter().all(there)
    }

    /// Puts all of the data into one encoded frame, where the first of it stood.
    fn gzip(&mut self) {
        let data = self.data();
        let mut encoded = Vec::new();
        let mut gzip = GzEncoder::new(&data[..], Compression::fast());
        gzip.read_to_end(&mut encoded).unwrap();
        let is_data = |event: &Event| matches!(event, Event::Data(_));
        let at = self.events.iter().position(is_data);
        self.events.retain(|event| !is_data(event));
        self.events
            .insert(at.unwrap_or(0), Event::Data(encoded.into()));
    }
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                std::task::ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            return Poll::Ready(match self.events.pop_front() {
                None => None,
                Some(Event::Data(data)) => {
                    if let Some(left) = &mut self.left {
                        *left -= data.len();
                    }
                    Some(Ok(Frame::data(data)))
                }
                Some(Event::Wait(time)) => {
                    self.sleep = Some(Box::pin(sleep(time)));
                    continue;
                }
                Some(Event::Stall) => {
                    self.events.push_front(Event::Stall);
                    return Poll::Pending;
                }
                Some(Event::Fail) => {
                    self.events.clear();
                    Some(Err(Broken))
                }
                Some(Event::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            });
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map(|left| SizeHint::with_exact(left as u64))
            .unwrap_or_default()
    }
}

/// Everything that a body yielded.
#[derive(Debug, Default)]
struct Received {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    error: Option<Broken>,
}

impl Received {
    /// Reads to the end or until the body stalls.
    async fn read<B>(body: &mut B) -> Self
    where
        B: Body<Data = Bytes, Error = Broken> + Unpin,
    {
        let mut received = Self::default();
        loop {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
            match timeout(TOO_LONG, frame).await {
                Err(_) | Ok(None) => return received,
                Ok(Some(Err(error))) => received.error = Some(error),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => received.data.extend_from_slice(&data),
                    Err(frame) => received.trailers = frame.into_trailers().ok(),
                },
            }
        }
    }
}

/// An attempt, as the upstream saw it.
struct Seen {
    at: usize,
    /// `None`: the caller's own.
    key: Option<usize>,
    head: request::Parts,
    read: Vec<u8>,
}

#[derive(Clone)]
struct Upstream {
    case: Arc<Case>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Service<Request<RequestBody<Scripted>>> for Upstream {
    type Response = Response<Scripted>;
    type Error = Broken;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Scripted>, Broken>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody<Scripted>>) -> Self::Future {
        let (head, mut body) = request.into_parts();
        let key = body.attempt().map(|attempt| {
            check_head(&head, attempt.key().expose_secret());
            attempt.key().index()
        });
        let mut all = self.seen.lock().unwrap();
        let at = all.len();
        all.push(Seen {
            at,
            key,
            head,
            read: Vec::new(),
        });
        drop(all);
        let (case, seen) = (Arc::clone(&self.case), Arc::clone(&self.seen));
        Box::pin(async move {
            let Some(response) = case.responses.get(at) else {
                return Err(Broken);
            };
            let frames = match response.reads {
                Reads::All => usize::MAX,
                Reads::Frames(frames) => frames.into(),
            };
            for _ in 0..frames {
                let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
                let Some(frame) = frame else {
                    let upload = case.upload();
                    assert_eq!(
                        seen.lock().unwrap()[at].read,
                        upload.data(),
                        "not all of it"
                    );
                    break;
                };
                match frame.map(Frame::into_data) {
                    Ok(data) => seen.lock().unwrap()[at].read.extend(data.unwrap()),
                    Err(error) => {
                        assert!(!error.is_superseded(), "this is the live attempt");
                        return Err(Broken);
                    }
                }
            }
            sleep(Duration::from_millis(response.wait.into())).await;
            let own = self::key(key.unwrap_or_default());
            let head = response.head.as_ref().ok_or(Broken)?;
            Ok(head.build(own.as_bytes()))
        })
    }
}

/// One credential, which is the attempt's key, and nothing else of the head is changed.
fn check_head(head: &request::Parts, key: &str) {
    let credentials: Vec<_> = CREDENTIALS
        .iter()
        .flat_map(|name| head.headers.get_all(*name))
        .collect();
    let [credential] = credentials[..] else {
        panic!("not one credential: {credentials:?}")
    };
    assert!(credential.is_sensitive());
    let credential = credential.to_str().unwrap();
    let credential = credential.strip_prefix("Bearer ").unwrap_or(credential);
    assert_eq!(credential, key);
    assert_eq!(head.headers["x-app"], "an app's");
    assert_eq!(head.headers.len(), 2);
    assert_eq!(head.uri.path(), "/a");
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    find(text, part).is_some()
}

/// Looks for the first byte alone at first: bodies may be large, and it stands in few.
fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = text[from..].iter().position(|byte| *byte == part[0]) {
        if text[from + at..].starts_with(part) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// What can be had of a gzip body.
fn plain(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let _ = GzDecoder::new(body).read_to_end(&mut plain);
    plain
}
