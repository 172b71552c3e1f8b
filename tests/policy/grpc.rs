//! What the gRPC policy makes of statuses, wherever they stand, and what it tells a caller.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use proptest::prelude::*;
use prost::Message;
use test_support::verdict::{Does, head, judge};
use tower::{Layer, ServiceExt, service_fn};
use tower_key_failover::policy::{
    BodyEvidence, Byok, Grpc, Mark, ProviderPolicy, ReadLimit, Reason, Verdict,
};
use tower_key_failover::pool::{Exhausted, KeyState};
use tower_key_failover::{KeyFailoverLayer, KeyPool, RequestBody};

const GRPC: (&str, &str) = ("content-type", "application/grpc");

/// One of the protocol's messages: its fields, of bytes or of numbers.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn bytes(mut self, tag: u32, value: impl AsRef<[u8]>) -> Self {
        prost::encoding::bytes::encode(tag, &value.as_ref().to_vec(), &mut self.0);
        self
    }

    fn int(mut self, tag: u32, value: i64) -> Self {
        prost::encoding::int64::encode(tag, &value, &mut self.0);
        self
    }
}

/// A `google.rpc.Status` with one detail.
fn status_with(kind: &str, detail: Fields) -> Vec<u8> {
    let any = Fields::default()
        .bytes(1, format!("type.googleapis.com/google.rpc.{kind}"))
        .bytes(2, detail.0);
    let status = Fields::default().int(1, 8).bytes(2, b"no UTF-8: \xff");
    status.bytes(3, any.0).0
}

fn error_info(reason: &str) -> Vec<u8> {
    status_with("ErrorInfo", Fields::default().bytes(1, reason))
}

fn retry_info(seconds: i64, nanos: i64) -> Vec<u8> {
    let delay = Fields::default().int(1, seconds).int(2, nanos);
    status_with("RetryInfo", Fields::default().bytes(1, delay.0))
}

fn quota_failure(quota: &str) -> Vec<u8> {
    let violation = Fields::default().bytes(1, "project").bytes(5, quota);
    status_with("QuotaFailure", Fields::default().bytes(1, violation.0))
}

const PEEK: Verdict = Verdict::Read(ReadLimit::available());

/// What the policy says of a status in a head alone. In trailers it has to be the same.
fn says(policy: &dyn ProviderPolicy, metadata: &[(&str, &str)]) -> Verdict {
    let mut with_type = vec![GRPC, ("date", "Fri, 20 Nov 2026 20:00:00 GMT")];
    let begun = head(200, &with_type);
    with_type.extend(metadata);
    let verdict = policy.classify(&head(200, &with_type));

    assert_eq!(policy.classify(&begun), PEEK);
    let trailers = head(200, metadata).headers;
    let evidence = BodyEvidence::complete(b"").with_trailers(&trailers);
    assert_eq!(policy.classify_body(&begun, &evidence), verdict);
    verdict
}

fn says_by_details(policy: &dyn ProviderPolicy, code: &str, details: &[u8]) -> Verdict {
    let unpadded = BASE64_STANDARD_NO_PAD.encode(details);
    let padded = BASE64_STANDARD.encode(details);
    let verdict = says(
        policy,
        &[
            ("grpc-status", code),
            ("grpc-status-details-bin", &unpadded),
        ],
    );
    for encoded in [
        padded,
        format!("{unpadded},AAAA"),
        format!("{unpadded}, AAAA"),
    ] {
        let metadata = [
            ("grpc-status", code),
            ("grpc-status-details-bin", &encoded[..]),
        ];
        assert_eq!(says(policy, &metadata), verdict, "{encoded}");
    }
    verdict
}

#[test]
fn a_grpc_status_counts_in_a_head_and_in_trailers() {
    for (code, expected) in [
        ("16", Does::Permanent),
        ("7", Does::Keep),
        ("8", Does::Temporary(None)),
        ("0", Does::Forward),
        ("1", Does::Forward),
        ("2", Does::Forward),
        ("3", Does::Forward),
        ("4", Does::Forward),
        ("5", Does::Forward),
        ("9", Does::Forward),
        ("13", Does::Forward),
        ("14", Does::Forward),
        ("15", Does::Forward),
        ("17", Does::Forward),
        ("-1", Does::Forward),
        ("4294967312", Does::Forward),
        ("", Does::Forward),
        ("sixteen", Does::Forward),
    ] {
        let verdict = says(&Grpc::new(), &[("grpc-status", code)]);
        assert!(expected.is(verdict), "{code}: {verdict:?}");
    }
}

#[test]
fn error_details_identify_a_dead_key() {
    for (code, reason, expected) in [
        ("7", "CONSUMER_SUSPENDED", Does::Permanent),
        ("7", "CONSUMER_INVALID", Does::Keep),
        ("7", "API_KEY_INVALID", Does::Permanent),
        ("7", "API_KEY_SERVICE_BLOCKED", Does::Permanent),
        ("7", "SERVICE_DISABLED", Does::Keep),
        ("7", "IAM_PERMISSION_DENIED", Does::Keep),
        ("7", "", Does::Keep),
        ("3", "API_KEY_INVALID", Does::Permanent),
        ("3", "API_KEY_EXPIRED", Does::Permanent),
        ("3", "FIELD_VIOLATION", Does::Forward),
        ("16", "ACCESS_TOKEN_EXPIRED", Does::Permanent),
        ("14", "API_KEY_INVALID", Does::Forward),
        ("0", "API_KEY_INVALID", Does::Forward),
    ] {
        let verdict = says_by_details(&Grpc::new(), code, &error_info(reason));
        assert!(expected.is(verdict), "{code} {reason}: {verdict:?}");
    }
}

#[test]
fn the_reason_of_a_grpc_mark_comes_from_the_status() {
    let permanent = Mark::permanent();
    for (code, mark) in [
        ("16", permanent.because(Reason::Unauthorized)),
        ("7", Mark::keep().because(Reason::Forbidden)),
        (
            "8",
            Mark::temporary(None)
                .in_scope()
                .because(Reason::RateLimited),
        ),
    ] {
        let verdict = says(&Grpc::new(), &[("grpc-status", code)]);
        assert_eq!(verdict, Verdict::Failover(mark), "{code}");
    }
    let verdict = says_by_details(&Grpc::new(), "3", &error_info("API_KEY_INVALID"));
    let mark = permanent.because(Reason::Unauthorized);
    assert_eq!(verdict, Verdict::Failover(mark));
}

#[test]
fn a_retry_pushback_sets_the_wait() {
    for (pushback, expected) in [
        ("1500", Does::millis(1500)),
        (" 7 ", Does::millis(7)),
        ("2147483647", Does::millis(2_147_483_647)),
        // At once: that is no wait.
        ("0", Does::Temporary(None)),
        // Do not try again.
        ("-1", Does::Forward),
        ("-2147483648", Does::Forward),
        ("2147483648", Does::Forward),
        ("1.5", Does::Forward),
        ("soon", Does::Forward),
        ("", Does::Forward),
    ] {
        let metadata = [("grpc-status", "8"), ("grpc-retry-pushback-ms", pushback)];
        let verdict = says(&Grpc::new(), &metadata);
        assert!(expected.is(verdict), "{pushback}: {verdict:?}");
    }
    let unreadable = HeaderValue::from_bytes(b"\xff").unwrap();
    let mut head = head(200, &[GRPC, ("grpc-status", "8")]);
    head.headers.insert("grpc-retry-pushback-ms", unreadable);
    assert_eq!(Grpc::new().classify(&head), Verdict::Forward);
}

#[test]
fn a_retry_pushback_does_not_keep_a_dead_key() {
    let metadata = [("grpc-status", "16"), ("grpc-retry-pushback-ms", "-1")];
    let verdict = says(&Grpc::new(), &metadata);
    assert!(Does::Permanent.is(verdict), "{verdict:?}");
}

#[test]
fn retry_info_details_set_the_wait() {
    for (details, expected) in [
        (retry_info(38, 200_000_000), Does::millis(38_200)),
        (retry_info(0, 1_000_000), Does::millis(1)),
        (retry_info(0, 0), Does::Temporary(None)),
        (retry_info(-5, 0), Does::Temporary(None)),
        (retry_info(5, -5), Does::Temporary(None)),
        // Carried over.
        (retry_info(1, 1_500_000_000), Does::millis(2500)),
        // Midnight in Los Angeles is twelve hours away.
        (
            quota_failure("RequestsPerDayPerProject"),
            Does::millis(12 * 60 * 60 * 1000),
        ),
        (
            quota_failure("RequestsPerMinutePerProject"),
            Does::Temporary(None),
        ),
        (error_info("RATE_LIMIT_EXCEEDED"), Does::Temporary(None)),
    ] {
        let verdict = says_by_details(&Grpc::new(), "8", &details);
        assert!(expected.is(verdict), "{details:?}: {verdict:?}");
    }
    for (details, expected) in [
        (retry_info(38, 0), 1500),
        (quota_failure("RequestsPerDay"), 1500),
    ] {
        let metadata = [
            ("grpc-status", "8"),
            ("grpc-retry-pushback-ms", "1500"),
            (
                "grpc-status-details-bin",
                &BASE64_STANDARD_NO_PAD.encode(details),
            ),
        ];
        let verdict = says(&Grpc::new(), &metadata);
        assert!(Does::millis(expected).is(verdict), "{verdict:?}");
    }
}

#[test]
fn a_status_message_can_set_the_wait() {
    for message in ["Please retry in 3.5s.", "Please%20retry%20in%203.5s."] {
        let metadata = [("grpc-status", "8"), ("grpc-message", message)];
        let verdict = says(&Grpc::new(), &metadata);
        assert!(Does::millis(3500).is(verdict), "{message}: {verdict:?}");
    }
}

#[test]
fn a_response_that_is_not_grpc_is_judged_by_its_http_status() {
    let html = ("content-type", "text/html");
    let wait = ("retry-after", "7");
    for (status, headers, expected) in [
        (401, &[][..], Does::Permanent),
        (403, &[], Does::Suspect),
        (403, &[html], Does::Forward),
        (429, &[wait], Does::millis(7000)),
        (429, &[GRPC, wait], Does::millis(7000)),
        (429, &[], Does::Temporary(None)),
        (400, &[], Does::Forward),
        (402, &[], Does::Forward),
        (404, &[GRPC], Does::Forward),
        (503, &[GRPC], Does::Forward),
        (200, &[], Does::Forward),
        (200, &[html], Does::Forward),
        (200, &[("content-type", "application/grp")], Does::Forward),
        // The protocol: where there is a status of gRPC's, it counts.
        (401, &[("grpc-status", "14")], Does::Forward),
        (503, &[("grpc-status", "16")], Does::Permanent),
    ] {
        let verdict = judge(&Grpc::new(), &head(status, headers), b"");
        assert!(
            expected.is(verdict),
            "{status} {headers:?}: {verdict:?}, not {expected:?}"
        );
    }
}

#[test]
fn a_call_that_started_well_is_peeked_at() {
    for kind in [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc;x=y",
        "Application/GRPC",
    ] {
        let verdict = Grpc::new().classify(&head(200, &[("content-type", kind)]));
        assert_eq!(verdict, PEEK, "{kind}");
    }
    let begun = head(200, &[GRPC]);
    let message = BodyEvidence::partial(b"\0\0\0\0\x01x");
    assert_eq!(
        Grpc::new().classify_body(&begun, &message),
        Verdict::Forward
    );
    let time = Duration::from_secs(2);
    let patient = Grpc::new().wait_for_first_frame(time);
    let limit = ReadLimit::first_frame(time);
    assert_eq!(patient.classify(&begun), Verdict::Read(limit));
}

#[test]
fn malformed_details_are_no_evidence() {
    let good = error_info("CONSUMER_SUSPENDED");
    let mut hostile: Vec<Vec<u8>> = (0..good.len()).map(|end| good[..end].to_vec()).collect();
    hostile.extend([
        vec![0xff; 1 << 16],
        // Lengths that go beyond the end, beyond the memory, and round the number's end.
        b"\x1a\x7f".to_vec(),
        b"\x1a\xff\xff\xff\xff\x07".to_vec(),
        b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01".to_vec(),
        // Groups in groups.
        vec![0x0b; 1 << 16],
        // The right type's name on what is another's.
        status_with("ErrorInfo", Fields::default().int(1, i64::MIN)),
        status_with("ErrorInfo", Fields::default().bytes(1, [0xff, 0xfe])),
        status_with("RetryInfo", Fields::default().bytes(1, [0xff; 9])),
        retry_info(i64::MIN, i64::from(i32::MIN)),
        status_with("QuotaFailure", Fields::default().int(1, 1)),
        status_with("Unheard", Fields::default().bytes(1, "CONSUMER_SUSPENDED")),
        Fields::default().bytes(1, good.clone()).0,
        Fields::default().int(3, 1).0,
    ]);
    for details in hostile {
        for (code, expected) in [
            ("7", Does::Keep),
            ("8", Does::Temporary(None)),
            ("3", Does::Forward),
        ] {
            let verdict = says_by_details(&Grpc::new(), code, &details);
            assert!(expected.is(verdict), "{code} {details:?}: {verdict:?}");
        }
    }
    for encoded in ["", ",", "====", "!!!", "A", "CAcS\u{fc}"] {
        let metadata = [("grpc-status", "7"), ("grpc-status-details-bin", encoded)];
        let verdict = says(&Grpc::new(), &metadata);
        assert!(Does::Keep.is(verdict), "{encoded}: {verdict:?}");
    }
}

proptest! {
    #[test]
    fn no_metadata_makes_the_grpc_policy_panic(
        code in "[0-9]{0,3}",
        message: Vec<u8>,
        pushback: Vec<u8>,
        details: Vec<u8>,
        raw: Vec<u8>,
        kind in "(ErrorInfo|RetryInfo|QuotaFailure|.*)",
    ) {
        let with_type = status_with(&kind, Fields(details.clone()));
        let encoded = [details, with_type].map(|it| BASE64_STANDARD.encode(it).into_bytes());
        for details in encoded.iter().chain([&raw]) {
            let mut head = head(200, &[GRPC, ("grpc-status", &code)]);
            for (name, value) in [
                ("grpc-message", &message),
                ("grpc-retry-pushback-ms", &pushback),
                ("grpc-status-details-bin", details),
            ] {
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    head.headers.insert(name, value);
                }
            }
            let verdict = Grpc::new().classify(&head);
            prop_assert!(matches!(verdict, Verdict::Forward | Verdict::Failover(_)));
        }
    }
}

#[test]
fn a_huge_wait_is_reported_unchanged() {
    let verdict = says_by_details(&Grpc::new(), "8", &retry_info(i64::MAX, 999_999_999));
    let Verdict::Failover(mark) = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(mark.reason(http::StatusCode::OK), Reason::RateLimited);
}

#[test]
fn verdicts_on_unauthenticated_and_permission_denied_can_be_changed() {
    let keep = Verdict::Failover(Mark::keep());
    let permanent = Verdict::Failover(Mark::permanent());
    let policy = Grpc::new().on_unauthorized(keep).on_forbidden(permanent);
    for (code, expected) in [("16", Does::Keep), ("7", Does::Permanent)] {
        let verdict = says(&policy, &[("grpc-status", code)]);
        assert!(expected.is(verdict), "{code}: {verdict:?}");
    }
    assert_eq!(policy.classify(&head(401, &[])), keep);
    assert_eq!(judge(&policy, &head(403, &[]), b""), permanent);
}

fn request(headers: &[(&str, &str)]) -> http::request::Parts {
    let mut request = Request::new(()).into_parts().0;
    request.headers = head(200, headers).headers;
    request
}

#[test]
fn a_grpc_key_is_sent_in_metadata() {
    let pool = KeyPool::new(["first-key"]).unwrap();
    let key = pool.walker().next_key().unwrap();
    let goog = HeaderName::from_static("x-goog-api-key");
    let own = [
        ("authorization", "Bearer own"),
        ("x-goog-api-key", "own"),
        ("x-goog-user-project", "own"),
        ("te", "trailers"),
    ];

    let mut bearer = request(&own);
    Grpc::new().inject_key(&mut bearer, &key);
    let mut expected = HeaderMap::new();
    expected.insert("te", HeaderValue::from_static("trailers"));
    expected.insert(
        "authorization",
        HeaderValue::from_static("Bearer first-key"),
    );
    assert_eq!(bearer.headers, expected);
    assert!(bearer.headers["authorization"].is_sensitive());

    let mut raw = request(&own);
    Grpc::new().header(goog).inject_key(&mut raw, &key);
    expected.remove("authorization");
    expected.insert("x-goog-api-key", HeaderValue::from_static("first-key"));
    assert_eq!(raw.headers, expected);
}

#[test]
fn the_callers_own_grpc_credential_is_detected() {
    let goog = HeaderName::from_static("x-goog-api-key");
    let bearer = Grpc::new();
    // Settings stay, whichever comes first.
    let raw = Grpc::new().byok(Byok::prefixes(["AIza"])).header(goog);
    for (headers, in_bearer, in_raw) in [
        (&[][..], false, false),
        (&[("authorization", "Bearer AIza-1")], true, true),
        (&[("authorization", "Bearer dummy")], true, false),
        (&[("authorization", "Bearer ")], false, false),
        (&[("x-goog-api-key", "AIza-1")], false, true),
        (&[("x-goog-api-key", "dummy")], false, false),
    ] {
        assert_eq!(bearer.is_byok(&request(headers)), in_bearer, "{headers:?}");
        assert_eq!(raw.is_byok(&request(headers)), in_raw, "{headers:?}");
    }
}

/// Takes the keys of a pool out with these marks, and asks for another.
fn exhausted(marks: &[Option<Duration>]) -> Exhausted {
    let keys = (0..marks.len()).map(|at| format!("key-{at}"));
    let pool = KeyPool::new(keys).unwrap();
    let mut walker = pool.walker();
    for mark in marks {
        let key = walker.next_key().unwrap();
        match mark {
            Some(wait) => key.mark_temporary(Some(*wait)),
            None => key.mark_permanent(),
        };
    }
    walker.next_key().unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_grpc_response_has_no_body() {
    let wait = Duration::from_millis(2500);
    let response = Grpc::new().exhausted_response(&exhausted(&[None, Some(wait)]));
    assert_eq!(response.status(), 200);
    assert!(response.body().is_empty());
    let headers = response.headers();
    assert_eq!(headers["content-type"], "application/grpc");
    assert_eq!(headers["grpc-status"], "8");
    let message = headers["grpc-message"].to_str().unwrap();
    assert!(message.starts_with("all configured keys are rate-limited"));
    assert_eq!(headers["grpc-retry-pushback-ms"], "2500");
    let details = headers["grpc-status-details-bin"].as_bytes();
    let details = BASE64_STANDARD_NO_PAD.decode(details).unwrap();

    #[derive(Clone, PartialEq, Message)]
    struct Status {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(string, tag = "2")]
        message: String,
        #[prost(message, repeated, tag = "3")]
        details: Vec<Any>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Any {
        #[prost(string, tag = "1")]
        type_url: String,
        #[prost(bytes = "vec", tag = "2")]
        value: Vec<u8>,
    }
    let delay = Fields::default().int(1, 2).int(2, 500_000_000);
    let expected = Status {
        code: 8,
        message: message.to_owned(),
        details: vec![Any {
            type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
            value: Fields::default().bytes(1, delay.0).0,
        }],
    };
    assert_eq!(Status::decode(&details[..]).unwrap(), expected);
    // A layer above takes it for what it is.
    let (head, _) = response.into_parts();
    assert!(Does::millis(2500).is(Grpc::new().classify(&head)));
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_is_capped_to_the_pushback() {
    let pool = KeyPool::builder()
        .key("only")
        .max_cooldown(Duration::from_secs(365 * 86400));
    let pool = pool.build().unwrap();
    let mut walker = pool.walker();
    let key = walker.next_key().unwrap();
    key.mark_temporary(Some(Duration::from_secs(30 * 86400)));
    let response = Grpc::new().exhausted_response(&walker.next_key().unwrap_err());
    assert_eq!(response.headers()["grpc-retry-pushback-ms"], "2147483647");
}

#[test]
fn an_exhausted_grpc_response_forbids_retries_if_nothing_recovers() {
    let response = Grpc::new().exhausted_response(&exhausted(&[None, None]));
    assert_eq!(response.status(), 200);
    let headers = response.headers();
    assert_eq!(headers["content-type"], "application/grpc");
    assert_eq!(headers["grpc-status"], "13");
    assert_eq!(
        headers["grpc-message"],
        "all configured keys failed authentication"
    );
    assert_eq!(headers["grpc-retry-pushback-ms"], "-1");
    assert!(!headers.contains_key("grpc-status-details-bin"));
    let (head, _) = response.into_parts();
    assert_eq!(Grpc::new().classify(&head), Verdict::Forward);
}

/// A body that is trailers alone.
fn trailers_of(code: &'static str) -> BoxBody<Bytes, Infallible> {
    body_of(head(200, &[("grpc-status", code)]).headers)
}

fn body_of(trailers: HeaderMap) -> BoxBody<Bytes, Infallible> {
    let frame = Ok::<_, Infallible>(Frame::trailers(trailers));
    BodyExt::boxed(StreamBody::new(stream::iter([frame])))
}

#[tokio::test]
async fn a_refusal_in_available_trailers_fails_over() {
    let pool = Arc::new(KeyPool::new(["k0", "k1", "k2"]).unwrap());
    let layer = KeyFailoverLayer::new(Grpc::new(), Arc::clone(&pool));
    let upstream = service_fn(|request: Request<RequestBody<Full<Bytes>>>| async move {
        let key = request.headers()["authorization"].to_str().unwrap();
        let body = trailers_of(match key {
            "Bearer k0" => "16",
            "Bearer k1" => "7",
            _ => "0",
        });
        let response = Response::builder().header("content-type", "application/grpc");
        Ok::<_, Infallible>(response.body(body).unwrap())
    });
    let request = Request::new(Full::new(Bytes::new()));
    let response = layer.layer(upstream).oneshot(request).await.unwrap();
    assert_eq!(response.body().failover().unwrap().attempts(), 3);
    let whole = response.into_body().collect().await.unwrap();
    assert_eq!(whole.trailers().unwrap()["grpc-status"], "0");
    let expected = [KeyState::Permanent, KeyState::Valid, KeyState::Valid];
    assert_eq!(pool.states(), expected);
}

#[tokio::test]
async fn a_forwarded_grpc_refusal_does_not_contain_the_key() {
    let secret = "canary-key-0123456789";
    let message = format!("Consumer 'api_key:{secret}' may not");
    let details = BASE64_STANDARD.encode(error_info(secret));
    let refusal = head(
        200,
        &[
            ("grpc-status", "7"),
            ("grpc-message", &message),
            ("grpc-status-details-bin", &format!("AAEC,{details}")),
        ],
    );
    for in_trailers in [false, true] {
        let pool = Arc::new(KeyPool::new([secret]).unwrap());
        let layer = KeyFailoverLayer::new(Grpc::new(), pool);
        let metadata = refusal.headers.clone();
        let upstream = service_fn(move |_: Request<RequestBody<Full<Bytes>>>| {
            let mut response = Response::new(BoxBody::default());
            if in_trailers {
                *response.body_mut() = body_of(metadata.clone());
            } else {
                *response.headers_mut() = metadata.clone();
            }
            let kind = HeaderValue::from_static("application/grpc");
            response.headers_mut().insert("content-type", kind);
            async move { Ok::<_, Infallible>(response) }
        });
        let request = Request::new(Full::new(Bytes::new()));
        let response = layer.layer(upstream).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap();
        let metadata = body.trailers().unwrap_or(&head.headers);
        assert_eq!(metadata["grpc-status"], "7");
        assert_eq!(metadata.get("grpc-message"), None);
        assert_eq!(metadata.get("grpc-status-details-bin"), None);
    }
}
