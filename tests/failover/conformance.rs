//! The failover cases, each call driven through the layer with the built-in policies.

use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use test_support::mock::{Body, Handle, response, stack};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower_key_failover::policy::Provider;
use tower_key_failover::pool::KeyState;
use tower_key_failover::{KeyFailoverLayer, KeyPool};

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The key that the upstream sees, wherever it travels.
fn key_of<B>(request: &Request<B>) -> String {
    let headers = request.headers();
    let bearer = headers.get("authorization");
    let values: Vec<_> = headers.get("x-api-key").into_iter().chain(bearer).collect();
    assert_eq!(values.len(), 1, "exactly one credential");
    let value = values[0].to_str().unwrap();
    value.strip_prefix("Bearer ").unwrap_or(value).to_owned()
}

fn upstream_answer(case: &Value) -> http::Response<Body> {
    let mut response = response(case["status"].as_u64().unwrap() as u16);
    for (field, name) in [
        ("retry_after", "retry-after"),
        ("retry_after_ms", "retry-after-ms"),
        ("x_should_retry", "x-should-retry"),
    ] {
        if let Some(value) = case.get(field).and_then(Value::as_str) {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
    }
    if let Some(marker) = case.get("body").and_then(Value::as_str) {
        *response.body_mut() = Full::from(marker.to_owned());
    }
    response
}

async fn run(case: &Value) {
    let provider = text(&case["provider"]);
    let policy = Provider::named(provider).unwrap();
    let keys: Vec<_> = list(&case["keys"]).iter().map(text).collect();
    let pool = KeyPool::new(keys).ok().map(std::sync::Arc::new);
    let layer = match &pool {
        Some(pool) => KeyFailoverLayer::new(policy, std::sync::Arc::clone(pool)),
        None => KeyFailoverLayer::disabled(policy),
    };
    let (mut service, mut handle): (_, Handle) = stack(&layer);

    let responses = list(&case["responses"]);
    let calls: Vec<usize> = match case.get("calls_per_request") {
        Some(calls) => list(calls)
            .iter()
            .map(|calls| calls.as_u64().unwrap() as usize)
            .collect(),
        // Two turns of an agent: a request that succeeds, then one that fails over.
        None if text(&case["name"]).starts_with("agentic/") => vec![1, responses.len() - 1],
        None => vec![responses.len()],
    };
    let mut responses = responses.iter();
    let mut seen = Vec::new();
    let mut last = None;
    for calls in calls {
        let mut request = Request::post("http://upstream.test/")
            .body(Full::from("hello"))
            .unwrap();
        if let Some(byok) = case["byok"].as_str() {
            let value = format!("Bearer {byok}").parse().unwrap();
            request.headers_mut().insert("authorization", value);
        }
        assert_ready_ok!(service.poll_ready());
        let mut future = task::spawn(service.call(request));
        for _ in 0..calls {
            assert_pending!(future.poll());
            let (sent, reply) = handle.next_request().await.unwrap();
            seen.push(key_of(&sent));
            assert_eq!(
                sent.into_body().collect().await.unwrap().to_bytes(),
                "hello"
            );
            reply.send_response(upstream_answer(responses.next().unwrap()));
        }
        last = Some(assert_ready_ok!(future.poll()));
    }
    let last = last.unwrap();

    let expected = &case["expected"];
    assert_eq!(
        seen,
        list(&expected["seen_keys"])
            .iter()
            .map(text)
            .collect::<Vec<_>>()
    );
    assert_eq!(
        u64::from(last.status().as_u16()),
        expected["status"].as_u64().unwrap()
    );
    if let Some(retry_after) = expected["retry_after"].as_str() {
        let header = last
            .headers()
            .get("retry-after")
            .map(|value| value.to_str().unwrap());
        assert_eq!(header.unwrap_or(""), retry_after);
    }
    let states = pool.as_ref().map(|pool| pool.states()).unwrap_or_default();
    let states: Vec<_> = states
        .into_iter()
        .map(|state| match state {
            KeyState::Valid => "valid",
            KeyState::Temporary { .. } => "temporary",
            _ => "permanent",
        })
        .collect();
    assert_eq!(
        states,
        list(&expected["key_states"])
            .iter()
            .map(text)
            .collect::<Vec<_>>()
    );
    let info = last.body().failover();
    if let (Some(hint), Some(info)) = (case["credential_hint_after"].as_str(), info) {
        assert_eq!(info.hint(), Some(hint));
    }
    let histogram = &case["metrics"]["attempts_histogram"];
    if let (Some(1), Some(sum)) = (histogram["count"].as_u64(), histogram["sum"].as_u64()) {
        assert_eq!(info.unwrap().attempts() as u64, sum);
    }
}

#[tokio::test(start_paused = true)]
async fn every_failover_case_of_the_conformance_suite_passes() {
    let cases: Value = test_support::conformance::failover_cases();
    for case in list(&cases) {
        println!("{} {} {}", case["name"], case["provider"], case["mode"]);
        run(case).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_status_marks_the_key_as_the_conformance_cases_expect() {
    let cases: Value = test_support::conformance::unit_cases();
    for case in list(&cases["mark_on_status"]) {
        let pool = std::sync::Arc::new(KeyPool::new(["k0"]).unwrap());
        let layer = KeyFailoverLayer::new(Provider::anthropic(), std::sync::Arc::clone(&pool));
        let (mut service, mut handle): (_, Handle) = stack(&layer);
        assert_ready_ok!(service.poll_ready());
        let mut future = task::spawn(service.call(Request::new(Full::default())));
        assert_pending!(future.poll());
        let (_, reply) = handle.next_request().await.unwrap();
        reply.send_response(upstream_answer(case));
        let response = assert_ready_ok!(future.poll());
        let own = response
            .extensions()
            .get::<tower_key_failover::FailoverInfo>()
            .is_some();
        assert_eq!(own, case["failover"].as_bool().unwrap());
        match (text(&case["state"]), pool.states()[0]) {
            ("valid", KeyState::Valid) | ("permanent", KeyState::Permanent) => {}
            ("temporary", KeyState::Temporary { retry_after }) => {
                assert_eq!(
                    retry_after.as_millis() as u64,
                    case["cooldown_ms"].as_u64().unwrap()
                );
            }
            (expected, state) => panic!("{expected}, not {state:?}"),
        }
    }
}
