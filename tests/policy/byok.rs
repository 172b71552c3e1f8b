//! Which requests bring a credential of their own.

use http::{HeaderName, HeaderValue, Request, request};
use serde_json::Value;
use tower_key_failover::policy::{Byok, Provider, ProviderPolicy};

fn request(uri: &str, headers: &[(&str, &str)]) -> request::Parts {
    let mut request = Request::builder().uri(uri).body(()).unwrap();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        request
            .headers_mut()
            .append(name, HeaderValue::from_str(value).unwrap());
    }
    request.into_parts().0
}

fn is_byok(provider: &str, headers: &[(&str, &str)]) -> bool {
    Provider::named(provider)
        .unwrap()
        .is_byok(&request("/v1", headers))
}

#[test]
fn is_byok_follows_the_conformance_cases() {
    let cases: Value = test_support::conformance::unit_cases();
    for (provider, cases) in cases["is_byok"].as_object().unwrap() {
        for case in cases.as_array().unwrap() {
            let headers: Vec<_> = case[0]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
                .collect();
            let expected = case[1].as_bool().unwrap();
            assert_eq!(
                is_byok(provider, &headers),
                expected,
                "{provider} {headers:?}"
            );
        }
    }
}

#[test]
fn a_credential_counts_wherever_the_provider_accepts_one() {
    for (provider, name, expected) in [
        ("anthropic", "x-api-key", true),
        ("anthropic", "authorization", true),
        ("anthropic", "api-key", false),
        ("azure_openai", "api-key", true),
        ("azure_openai", "authorization", true),
        ("azure_openai", "x-api-key", false),
        ("gemini", "x-goog-api-key", true),
        ("gemini", "authorization", true),
        ("vertex", "authorization", true),
        ("bedrock", "authorization", true),
        ("groq", "authorization", true),
        ("groq", "x-api-key", false),
        ("bearer", "authorization", true),
    ] {
        assert_eq!(
            is_byok(provider, &[(name, "k")]),
            expected,
            "{provider} {name}"
        );
        assert!(!is_byok(provider, &[]), "{provider}");
    }
}

#[test]
fn a_key_in_a_google_query_is_the_callers_own_credential() {
    let gemini = Provider::gemini();
    assert!(gemini.is_byok(&request("/v1?alt=sse&key=theirs", &[])));
    assert!(!gemini.is_byok(&request("/v1?key=", &[])));
    assert!(!gemini.is_byok(&request("/v1?monkey=1", &[])));
    assert!(!Provider::openai().is_byok(&request("/v1?key=theirs", &[])));
}

#[test]
fn an_empty_credential_is_no_credential() {
    for value in ["", " ", "Bearer", "Bearer ", "bearer   "] {
        assert!(!is_byok("openai", &[("authorization", value)]), "{value:?}");
    }
    assert!(is_byok("openai", &[("authorization", "sk-alone")]));
    assert!(is_byok(
        "openai",
        &[("authorization", ""), ("authorization", "Bearer sk")]
    ));
    assert!(!is_byok(
        "anthropic",
        &[("x-api-key", ""), ("authorization", "Bearer ")]
    ));
}

#[test]
fn a_header_policy_checks_only_its_own_header() {
    let policy = Provider::header(HeaderName::from_static("x-token"));
    assert!(policy.is_byok(&request("/", &[("x-token", "theirs")])));
    assert!(!policy.is_byok(&request("/", &[("authorization", "Bearer theirs")])));
    assert!(!policy.is_byok(&request("/", &[])));
}

#[test]
fn byok_detection_can_be_disabled() {
    let policy = Provider::openai().byok(Byok::Never);
    assert!(!policy.is_byok(&request("/", &[("authorization", "Bearer sk-theirs")])));
}

#[test]
fn placeholders_are_distinguished_from_keys_by_prefix() {
    let policy = Provider::openai().byok(Byok::prefixes(["sk-", "eyJ"]));
    for (value, expected) in [
        ("Bearer sk-theirs", true),
        ("bearer  sk-theirs", true),
        ("Bearer eyJhbGciOi", true),
        ("sk-theirs", true),
        ("Bearer dummy", false),
        ("Bearer no-key-required", false),
        ("Bearer <authenticated>", false),
        ("Bearer xsk-", false),
        ("", false),
    ] {
        let request = request("/", &[("authorization", value)]);
        assert_eq!(policy.is_byok(&request), expected, "{value}");
    }
    let policy = Provider::named("gemini")
        .unwrap()
        .byok(Byok::prefixes(["AIza"]));
    assert!(policy.is_byok(&request("/v1?key=AIzaTheirs", &[])));
    assert!(!policy.is_byok(&request("/v1?key=dummy", &[("x-goog-api-key", "dummy")])));
}

#[test]
fn copilot_requests_always_use_their_own_credential() {
    assert!(Provider::copilot().is_byok(&request("/", &[])));
    assert!(
        Provider::copilot()
            .byok(Byok::Never)
            .is_byok(&request("/", &[]))
    );
    assert!(is_byok("copilot", &[]));
}

#[test]
fn a_key_in_the_protocol_of_a_websocket_is_the_callers_own() {
    let protocol = |value| request("/v1/realtime", &[("sec-websocket-protocol", value)]);
    let openai = Provider::openai();
    for (value, expected) in [
        ("realtime, openai-insecure-api-key.sk-theirs", true),
        ("openai-insecure-api-key.sk-theirs,realtime", true),
        ("realtime, openai-insecure-api-key.", false),
        ("realtime, openai-insecure-api-key. ", false),
        ("realtime, openai-beta.realtime-v1", false),
        ("x-openai-insecure-api-key.sk-theirs", false),
        ("realtime", false),
    ] {
        assert_eq!(openai.is_byok(&protocol(value)), expected, "{value}");
        assert!(!Provider::anthropic().is_byok(&protocol(value)), "{value}");
    }
    let several = [
        ("sec-websocket-protocol", "realtime"),
        (
            "sec-websocket-protocol",
            "openai-insecure-api-key.sk-theirs",
        ),
    ];
    assert!(openai.is_byok(&request("/", &several)));

    let dummy = protocol("openai-insecure-api-key.dummy");
    let by_prefix = Provider::openai().byok(Byok::prefixes(["sk-"]));
    assert!(by_prefix.is_byok(&protocol("openai-insecure-api-key.sk-theirs")));
    assert!(!by_prefix.is_byok(&dummy));
    assert!(!Provider::openai().byok(Byok::Never).is_byok(&dummy));
}
