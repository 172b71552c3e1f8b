//! What each built-in policy says of answers that providers give.
#![cfg(feature = "providers")]

mod answers;

use std::time::Duration;

use http::response;
use serde_json::Value;
use tower_key_failover::policy::{self, ProviderPolicy, Verdict};

use self::answers::{Does, head, judge};

const VECTORS: &str = include_str!("conformance/provider_vectors.json");

struct Vector {
    id: String,
    provider: String,
    head: response::Parts,
    body: Vec<u8>,
    expected: Does,
}

fn vectors() -> Vec<Vector> {
    let vectors: Vec<Value> = serde_json::from_str(VECTORS).unwrap();
    vectors
        .iter()
        // gRPC speaks in trailers: its policy comes with a feature of its own.
        .filter(|vector| vector["provider"] != "grpc")
        .map(|vector| Vector {
            id: vector["id"].as_str().unwrap().to_owned(),
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
fn every_answer_means_what_its_provider_means() {
    let failures: Vec<_> = vectors()
        .into_iter()
        .filter_map(|vector| {
            let policy = policy::for_name(&vector.provider).expect(&vector.provider);
            let verdict = judge(&policy, &vector.head, &vector.body);
            let fits = vector.expected.is(verdict);
            (!fits).then(|| format!("{}: {verdict:?}, not {:?}", vector.id, vector.expected))
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_success_or_a_failure_of_the_server_is_never_held_up() {
    for vector in vectors() {
        let policy = policy::for_name(&vector.provider).unwrap();
        for status in [200, 201, 204, 304, 404, 500, 502, 503, 529] {
            let mut head = vector.head.clone();
            head.status = status.try_into().unwrap();
            assert_eq!(
                policy.classify(&head),
                Verdict::Forward,
                "{} {status}",
                vector.id
            );
        }
    }
}
