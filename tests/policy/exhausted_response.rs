//! The response if no key is left.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Response};
use serde_json::{Value, json};
use tower_key_failover::policy::{Provider, ProviderPolicy};
use tower_key_failover::pool::{Exhausted, ExhaustedKind};

const RATE_LIMITED: &str = "all configured keys are in use or rate-limited";
const PERMANENT: &str = "all configured keys failed authentication";

fn rate_limited(wait: Option<Duration>) -> Exhausted {
    Exhausted {
        kind: ExhaustedKind::RateLimited,
        retry_after: wait,
    }
}

fn permanent() -> Exhausted {
    Exhausted {
        kind: ExhaustedKind::Permanent,
        retry_after: None,
    }
}

fn respond(provider: &str, exhausted: &Exhausted) -> Response<Bytes> {
    Provider::named(provider)
        .unwrap()
        .exhausted_response(exhausted)
}

fn body(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

fn header<'a>(response: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
    Some(response.headers().get(name)?.to_str().unwrap())
}

#[test]
fn retry_after_is_rounded_up_like_the_conformance_cases() {
    let cases: Value = test_support::conformance::unit_cases();
    for case in cases["json_error_response"].as_array().unwrap() {
        let millis = case["retry_after_ms"].as_i64().unwrap();
        let wait = u64::try_from(millis).ok().map(Duration::from_millis);
        let exhausted = match case["status"].as_u64().unwrap() {
            429 => rate_limited(wait),
            _ => permanent(),
        };
        for provider in ["openai", "anthropic", "gemini", "cohere", "bearer"] {
            let response = respond(provider, &exhausted);
            assert_eq!(
                u64::from(response.status().as_u16()),
                case["status"],
                "{case}"
            );
            assert_eq!(
                header(&response, "retry-after"),
                case["header"].as_str(),
                "{case}"
            );
        }
    }
}

#[test]
fn an_exhausted_response_gives_the_wait_in_seconds_and_milliseconds() {
    for (wait, seconds, millis) in [
        (Duration::from_secs(3), "3", "3000"),
        (Duration::from_millis(2001), "3", "2001"),
        (Duration::from_micros(1), "1", "1"),
        (Duration::from_secs(86400), "86400", "86400000"),
        // Beyond 31 bits of milliseconds timers run out at once.
        (Duration::MAX, "2147483", "2147483000"),
    ] {
        let response = respond("openai", &rate_limited(Some(wait)));
        assert_eq!(header(&response, "retry-after"), Some(seconds), "{wait:?}");
        assert_eq!(
            header(&response, "retry-after-ms"),
            Some(millis),
            "{wait:?}"
        );
    }
}

#[test]
fn sdks_are_told_not_to_retry_if_the_wait_is_long_or_useless() {
    for (exhausted, expected) in [
        (rate_limited(None), None),
        (rate_limited(Some(Duration::from_secs(60))), None),
        (
            rate_limited(Some(Duration::from_millis(60_001))),
            Some("false"),
        ),
        (permanent(), Some("false")),
    ] {
        let response = respond("anthropic", &exhausted);
        assert_eq!(
            header(&response, "x-should-retry"),
            expected,
            "{exhausted:?}"
        );
    }
}

#[test]
fn every_exhausted_response_is_json_with_a_message() {
    let header_policy = Provider::header(HeaderName::from_static("x-token"));
    let policies: Vec<Box<dyn ProviderPolicy>> =
        ["anthropic", "bedrock", "copilot", "vertex", "xai"]
            .into_iter()
            .map(|name| Box::new(Provider::named(name).unwrap()) as Box<dyn ProviderPolicy>)
            .chain([Box::new(header_policy) as Box<dyn ProviderPolicy>])
            .collect();
    for policy in policies {
        for (exhausted, status, message) in [
            (rate_limited(None), 429, RATE_LIMITED),
            (permanent(), 502, PERMANENT),
        ] {
            let response = policy.exhausted_response(&exhausted);
            assert_eq!(response.status(), status);
            assert_eq!(header(&response, "content-type"), Some("application/json"));
            assert_eq!(header(&response, "retry-after"), None);
            assert!(body(&response).to_string().contains(message));
        }
    }
}

#[test]
fn the_exhausted_message_contains_nothing_from_an_upstream() {
    let exhausted = rate_limited(Some(Duration::from_millis(2500)));
    let response = respond("openai", &exhausted);
    assert_eq!(body(&response)["error"]["message"], exhausted.to_string());
}

#[test]
fn exhausted_responses_of_openai_and_similar_providers_have_its_error_format() {
    for provider in [
        "openai",
        "azure_openai",
        "groq",
        "deepseek",
        "openrouter",
        "together",
        "perplexity",
        "xai",
        "copilot",
        "bearer",
    ] {
        let response = respond(provider, &rate_limited(None));
        assert_eq!(
            body(&response),
            json!({ "error": {
                "message": RATE_LIMITED,
                "type": "rate_limit_error",
                "param": null,
                "code": "rate_limit_exceeded",
            } }),
            "{provider}"
        );
        let response = respond(provider, &permanent());
        assert_eq!(
            body(&response),
            json!({ "error": {
                "message": PERMANENT,
                "type": "api_error",
                "param": null,
                "code": "server_error",
            } }),
            "{provider}"
        );
    }
}

#[test]
fn exhausted_responses_of_anthropic_have_its_error_format() {
    let error = |kind: &str, message: &str| json!({ "type": "error", "error": { "type": kind, "message": message } });
    let response = respond("anthropic", &rate_limited(None));
    assert_eq!(body(&response), error("rate_limit_error", RATE_LIMITED));
    let response = respond("anthropic", &permanent());
    assert_eq!(body(&response), error("api_error", PERMANENT));
}

#[test]
fn exhausted_responses_of_google_include_retry_info() {
    for provider in ["gemini", "vertex"] {
        for (millis, delay) in [(12_000, "12s"), (1500, "1.500s"), (20, "0.020s")] {
            let exhausted = rate_limited(Some(Duration::from_millis(millis)));
            assert_eq!(
                body(&respond(provider, &exhausted)),
                json!({ "error": {
                    "code": 429,
                    "message": exhausted.to_string(),
                    "status": "RESOURCE_EXHAUSTED",
                    "details": [{
                        "@type": "type.googleapis.com/google.rpc.RetryInfo",
                        "retryDelay": delay,
                    }],
                } }),
            );
        }
        let error = body(&respond(provider, &permanent()));
        assert_eq!(error["error"]["code"], 502);
        assert_eq!(error["error"]["status"], "UNAVAILABLE");
        assert_eq!(error["error"]["details"], Value::Null);
    }
}

#[test]
fn exhausted_responses_of_bedrock_name_the_error_type() {
    let response = respond("bedrock", &rate_limited(None));
    assert_eq!(
        header(&response, "x-amzn-errortype"),
        Some("ThrottlingException")
    );
    assert_eq!(body(&response), json!({ "message": RATE_LIMITED }));
    let response = respond("bedrock", &permanent());
    assert_eq!(
        header(&response, "x-amzn-errortype"),
        Some("ServiceUnavailableException")
    );
    assert_eq!(body(&response), json!({ "message": PERMANENT }));
}

#[test]
fn exhausted_responses_of_cohere_have_its_error_format() {
    let response = respond("cohere", &rate_limited(None));
    assert_eq!(body(&response), json!({ "message": RATE_LIMITED }));
}

#[test]
fn exhausted_responses_of_mistral_suit_its_own_and_openais_sdk() {
    let error = body(&respond("mistral", &rate_limited(None)));
    assert_eq!(error["object"], "error");
    assert_eq!(error["message"], RATE_LIMITED);
    assert_eq!(error["type"], "rate_limited");
    assert_eq!(error["error"]["message"], RATE_LIMITED);
    assert_eq!(error["error"]["code"], "rate_limit_exceeded");
}
