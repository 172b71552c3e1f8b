//! The verdict of each built-in policy on real responses of providers.

use std::convert::Infallible;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{GzEncoder, ZlibEncoder};
use http::{HeaderValue, Request, Response, response};
use http_body_util::{BodyExt, Full};
use ruzstd::encoding::CompressionLevel;
use serde_json::Value;
use test_support::verdict::{Does, head, judge};
use tower::{Layer, ServiceExt, service_fn};
use tower_key_failover::policy::{Mark, MarkKind, Provider, ProviderPolicy, ReadLimit, Verdict};
use tower_key_failover::pool::KeyState;
use tower_key_failover::{KeyFailoverLayer, KeyPool, RequestBody};

struct Vector {
    id: String,
    /// Whose limit it is, as the suite says it, or empty.
    scope: String,
    provider: String,
    head: response::Parts,
    body: Vec<u8>,
    expected: Does,
}

fn vectors() -> Vec<Vector> {
    let vectors = test_support::conformance::provider_vectors();
    let vectors = vectors.as_array().unwrap();
    vectors
        .iter()
        // Its policy comes with a feature of its own.
        .filter(|vector| cfg!(feature = "grpc") || vector["provider"] != "grpc")
        .map(|vector| Vector {
            id: vector["id"].as_str().unwrap().to_owned(),
            scope: vector["scope"].as_str().unwrap().to_owned(),
            provider: vector["provider"].as_str().unwrap().to_owned(),
            head: head_of(vector),
            body: match &vector["body"] {
                Value::String(text) => text.clone().into_bytes(),
                json => json.to_string().into_bytes(),
            },
            expected: expected_of(vector),
        })
        .collect()
}

fn policy(name: &str) -> Arc<dyn ProviderPolicy> {
    match name {
        #[cfg(feature = "grpc")]
        "grpc" => Arc::new(tower_key_failover::policy::Grpc::new()),
        _ => Arc::new(Provider::named(name).expect(name)),
    }
}

fn head_of(vector: &Value) -> response::Parts {
    let headers = vector["headers"].as_object().unwrap();
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect();
    head(vector["status"].as_u64().unwrap() as u16, &headers)
}

fn expected_of(vector: &Value) -> Does {
    match vector["verdict"].as_str().unwrap() {
        "forward" => Does::Forward,
        "rotate" => Does::Keep,
        "suspect" => Does::Suspect,
        "permanent" => Does::Permanent,
        "temporary" => match &vector["cooldown_ms"] {
            Value::Number(millis) => Does::millis(millis.as_u64().unwrap()),
            Value::String(default) if default == "default" => Does::Temporary(None),
            Value::String(default) if default == "quota_default" => {
                Does::Temporary(Some(Duration::from_secs(60 * 60)))
            }
            other => panic!("no cooldown: {other}"),
        },
        other => panic!("no verdict: {other}"),
    }
}

#[test]
fn every_provider_vector_of_the_conformance_suite_passes() {
    let failures: Vec<_> = vectors()
        .into_iter()
        .filter_map(|vector| {
            let policy = policy(&vector.provider);
            let verdict = judge(&*policy, &vector.head, &vector.body);
            let fits = vector.expected.is(verdict);
            (!fits).then(|| format!("{}: {verdict:?}, not {:?}", vector.id, vector.expected))
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_limit_of_a_model_is_limited_to_the_scope_and_a_limit_of_the_account_is_not() {
    let vectors = vectors();
    let mut seen = [0, 0];
    for vector in vectors.iter().filter(|it| !it.scope.is_empty()) {
        let Verdict::Failover(mark) = judge(&*policy(&vector.provider), &vector.head, &vector.body)
        else {
            continue;
        };
        let is_temporary = matches!(mark.kind(), MarkKind::Temporary(_));
        // gRPC has no scope unless the caller sets one.
        if !is_temporary || vector.provider == "grpc" {
            continue;
        }
        let is_of_model = ["+model", "+deployment"]
            .iter()
            .any(|end| vector.scope.ends_with(end));
        seen[usize::from(is_of_model)] += 1;
        assert_eq!(mark.is_in_scope(), is_of_model, "{}", vector.id);
    }
    assert!(seen[0] > 10 && seen[1] > 10, "{seen:?}");
}

#[test]
fn only_the_refusal_of_a_whole_model_is_an_access_refusal() {
    let refusals: Vec<_> = vectors()
        .into_iter()
        .filter(|vector| {
            let verdict = judge(&*policy(&vector.provider), &vector.head, &vector.body);
            verdict == Verdict::Failover(Mark::keep().in_scope())
        })
        .map(|vector| vector.id)
        .collect();
    let expected = [
        "bedrock/access_denied_iam",
        "mistral/forbidden_model_tier",
        "groq/model_blocked_403",
        "openai/org_unverified_403",
        "openai/model_access_without_code_403",
        "gemini/limit_of_zero_429",
        "gemini/no_free_tier_429",
    ];
    assert_eq!(refusals, expected);
}

#[test]
fn successes_and_server_errors_are_never_inspected() {
    // In gRPC a 200 may be a failure, and its head says so.
    for vector in vectors().iter().filter(|it| it.provider != "grpc") {
        let policy = Provider::named(&vector.provider).unwrap();
        for status in [200, 201, 204, 304, 404, 500, 502, 503, 529] {
            let mut head = vector.head.clone();
            head.status = status.try_into().unwrap();
            let verdict = policy.classify(&head);
            // Only a layer with a commit gate holds a stream back.
            let gated = Verdict::Read(ReadLimit::commit_gate());
            let is_forwarded = verdict == Verdict::Forward || verdict == gated;
            assert!(is_forwarded, "{} {status}: {verdict:?}", vector.id);
        }
    }
}

/// What the layer can decode.
const CODINGS: &[&str] = match cfg!(feature = "decompress") {
    true => &["identity", "gzip", "deflate", "br", "zstd"],
    false => &["identity"],
};

fn encode(coding: &str, plain: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    match coding {
        "gzip" => drop(GzEncoder::new(plain, Compression::fast()).read_to_end(&mut encoded)),
        "deflate" => drop(ZlibEncoder::new(plain, Compression::fast()).read_to_end(&mut encoded)),
        "br" => drop(brotli::CompressorReader::new(plain, 4096, 5, 22).read_to_end(&mut encoded)),
        "zstd" => encoded = ruzstd::encoding::compress_to_vec(plain, CompressionLevel::Fastest),
        _ => encoded.extend_from_slice(plain),
    }
    encoded
}

/// The key's default cooldown, and longer than any wait of the vectors at most.
const DEFAULT: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Sends one request through the layer. The upstream refuses the first key as the vector says, and
/// takes the second. Returns the caller's response, how many attempts the upstream got, and how the
/// first key stands then.
async fn through_the_layer(
    provider: &str,
    refusal: &response::Parts,
    body: Bytes,
) -> (u16, Bytes, usize, KeyState) {
    let pool = KeyPool::builder().key("first-key").key("second-key");
    let pool = pool.default_cooldown(DEFAULT).max_cooldown(LONGEST).build();
    let pool = Arc::new(pool.unwrap());
    let layer = KeyFailoverLayer::new(policy(provider), Arc::clone(&pool));
    let asked = Arc::new(AtomicUsize::new(0));

    let upstream = {
        let (asked, refusal) = (Arc::clone(&asked), refusal.clone());
        service_fn(move |_: Request<RequestBody<Full<Bytes>>>| {
            let response = match asked.fetch_add(1, Ordering::Relaxed) {
                0 => Response::from_parts(refusal.clone(), Full::new(body.clone())),
                _ => Response::new(Full::new(Bytes::from_static(b"good"))),
            };
            async move { Ok::<_, Infallible>(response) }
        })
    };
    let request = Request::new(Full::new(Bytes::from_static(b"{}")));
    let response = layer.layer(upstream).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (
        status,
        body,
        asked.load(Ordering::Relaxed),
        pool.states()[0],
    )
}

#[tokio::test(start_paused = true)]
async fn every_provider_vector_of_the_conformance_suite_passes_through_the_layer_in_every_encoding()
{
    for vector in vectors() {
        for coding in CODINGS {
            let mut head = vector.head.clone();
            let headers = &mut head.headers;
            headers.insert("content-encoding", HeaderValue::from_static(coding));
            let sent = Bytes::from(encode(coding, &vector.body));

            let (status, body, asked, state) =
                through_the_layer(&vector.provider, &head, sent.clone()).await;
            let (rotates, expected) = match vector.expected {
                Does::Forward => (false, KeyState::Valid),
                Does::Keep => (true, KeyState::Valid),
                // A suspected key is marked here, because the same request succeeds with another one.
                Does::Suspect | Does::Permanent => (true, KeyState::Permanent),
                Does::Temporary(wait) => {
                    let retry_after = wait.unwrap_or(DEFAULT);
                    (true, KeyState::Temporary { retry_after })
                }
            };
            let case = format!("{} {coding}", vector.id);
            assert_eq!(state, expected, "{case}");
            if rotates {
                assert_eq!((asked, status, &body[..]), (2, 200, &b"good"[..]), "{case}");
            } else {
                // What is forwarded stays as it came.
                assert_eq!((asked, status), (1, head.status.as_u16()), "{case}");
                assert_eq!(body, sent, "{case}");
            }
        }
    }
}
