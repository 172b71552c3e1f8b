//! How a key goes into a request, and what goes out before it.

use http::{HeaderMap, HeaderName, HeaderValue, Request, request};
use tower_key_failover::KeyPool;
use tower_key_failover::policy::{Provider, ProviderPolicy};

const SHARED: [&str; 5] = [
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "ocp-apim-subscription-key",
];

fn request(uri: &str, headers: &[(&str, &str)]) -> request::Parts {
    let mut request = Request::builder().uri(uri).body(()).unwrap();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request.into_parts().0
}

fn inject(policy: &dyn ProviderPolicy, mut request: request::Parts) -> request::Parts {
    let pool = KeyPool::new(["our-key"]).unwrap();
    policy.inject_key(&mut request, &pool.walker().next_key().unwrap());
    request
}

fn inject_by_name(provider: &str, uri: &str, headers: &[(&str, &str)]) -> request::Parts {
    inject(&Provider::named(provider).unwrap(), request(uri, headers))
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let values = headers.get_all(name).iter();
    values.map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn each_provider_gets_the_key_where_it_expects_it() {
    for provider in Provider::names() {
        let (name, value) = match provider {
            "anthropic" => ("x-api-key", "our-key"),
            "azure_openai" => ("api-key", "our-key"),
            "gemini" => ("x-goog-api-key", "our-key"),
            _ => ("authorization", "Bearer our-key"),
        };
        let request = inject_by_name(provider, "https://api.test/v1", &[]);
        assert_eq!(values(&request.headers, name), [value], "{provider}");
        assert_eq!(request.headers.len(), 1, "{provider}");
        assert!(request.headers[name].is_sensitive(), "{provider}");
    }
    let token = Provider::header(HeaderName::from_static("x-token"));
    let request = inject(&token, request("/", &[("x-token", "theirs")]));
    assert_eq!(values(&request.headers, "x-token"), ["our-key"]);
}

#[test]
fn no_credential_of_the_caller_survives() {
    let theirs: Vec<_> = SHARED
        .into_iter()
        .chain(SHARED)
        .map(|name| (name, "Bearer their-key"))
        .collect();
    for provider in Provider::names() {
        let request = inject_by_name(provider, "https://api.test/v1?alt=sse", &theirs);
        let left = format!("{:?}", request.headers);
        assert!(!left.contains("their-key"), "{provider}: {left}");
        assert_eq!(request.headers.len(), 1, "{provider}");
        assert_eq!(request.uri, "https://api.test/v1?alt=sse", "{provider}");
    }
}

#[test]
fn injection_keeps_everything_else_byte_for_byte() {
    let theirs = [
        ("anthropic-beta", "a , b"),
        ("anthropic-beta", "c"),
        ("cookie", "session=1"),
        ("x-stainless-retry-count", "1"),
        ("accept", "text/event-stream"),
    ];
    for provider in Provider::names() {
        let uri = "/v1/m%6Fdels/x?a=%20&&monkey=1&keys=2&b";
        let mut request = inject_by_name(provider, uri, &theirs);
        for name in ["authorization", "x-api-key", "api-key", "x-goog-api-key"] {
            request.headers.remove(name);
        }
        assert_eq!(request.uri, uri, "{provider}");
        assert_eq!(
            request.headers,
            self::request(uri, &theirs).headers,
            "{provider}"
        );
    }
}

#[test]
fn injection_removes_only_the_key_from_a_google_query() {
    for provider in ["gemini", "vertex"] {
        for (uri, expected) in [
            ("/v1?key=theirs", "/v1"),
            ("/v1?key=theirs&alt=sse", "/v1?alt=sse"),
            ("/v1?alt=sse&key=theirs", "/v1?alt=sse"),
            ("/v1?a=1&key=theirs&b=%26&key=again", "/v1?a=1&b=%26"),
            ("/v1?%6bey=theirs&a", "/v1?a"),
            ("/v1?access_token=theirs", "/v1"),
            // The caller's project belongs to its credential.
            ("/v1?userProject=theirs&$userProject=theirs&a=1", "/v1?a=1"),
            (
                "https://host.test:8443/v1?key=theirs&a=b",
                "https://host.test:8443/v1?a=b",
            ),
            ("/v1?monkey=theirs&a=key", "/v1?monkey=theirs&a=key"),
            ("/v1?", "/v1?"),
            ("/v1", "/v1"),
        ] {
            assert_eq!(
                inject_by_name(provider, uri, &[]).uri,
                expected,
                "{provider}"
            );
        }
    }
    // To others `key` is a parameter like any.
    assert_eq!(inject_by_name("openai", "/v1?key=1", &[]).uri, "/v1?key=1");
}

#[test]
fn injection_removes_headers_that_name_the_callers_account() {
    let theirs = [
        ("openai-organization", "org"),
        ("openai-project", "proj"),
        ("x-goog-user-project", "project"),
        ("x-amz-date", "20261120T200000Z"),
        ("x-amz-security-token", "token"),
        ("x-amz-content-sha256", "hash"),
    ];
    for (provider, gone) in [
        ("openai", &["openai-organization", "openai-project"][..]),
        ("gemini", &["x-goog-user-project"]),
        ("vertex", &["x-goog-user-project"]),
        (
            "bedrock",
            &["x-amz-date", "x-amz-security-token", "x-amz-content-sha256"],
        ),
        ("bearer", &[]),
    ] {
        let request = inject_by_name(provider, "/", &theirs);
        for (name, _) in theirs {
            let is_gone = !request.headers.contains_key(name);
            assert_eq!(is_gone, gone.contains(&name), "{provider} {name}");
        }
    }
    let signed = "/model/x/invoke?X-Amz-Algorithm=a&X-Amz-Signature=b&x=1";
    assert_eq!(
        inject_by_name("bedrock", signed, &[]).uri,
        "/model/x/invoke?x=1"
    );
}

#[test]
fn injection_removes_only_the_credential_from_a_list() {
    for (before, after) in [
        (&["oauth-2025-04-20"][..], &[][..]),
        (&["oauth-2025-04-20,a"], &["a"]),
        (&["a, oauth-2025-04-20,b"], &["a,b"]),
        (&["a", "oauth-2025-04-20", "b,  c"], &["a", "b,  c"]),
        (
            &["oauth-2025-04-20-next, xoauth-2025-04-20"],
            &["oauth-2025-04-20-next, xoauth-2025-04-20"],
        ),
    ] {
        let theirs: Vec<_> = before
            .iter()
            .map(|&value| ("anthropic-beta", value))
            .collect();
        let request = inject_by_name("anthropic", "/", &theirs);
        assert_eq!(
            values(&request.headers, "anthropic-beta"),
            after,
            "{before:?}"
        );
        // It means nothing to others.
        let request = inject_by_name("openai", "/", &theirs);
        assert_eq!(
            values(&request.headers, "anthropic-beta"),
            before,
            "{before:?}"
        );
    }
    let protocols = "realtime, openai-insecure-api-key.sk-theirs, openai-beta.realtime-v1";
    let request = inject_by_name("openai", "/", &[("sec-websocket-protocol", protocols)]);
    assert_eq!(
        values(&request.headers, "sec-websocket-protocol"),
        ["realtime, openai-beta.realtime-v1"]
    );
}

#[test]
fn injection_accepts_headers_that_are_not_text() {
    let mut theirs = request("/", &[]);
    let bytes = HeaderValue::from_bytes(b"oauth-2025-04-20,\xff").unwrap();
    theirs.headers.insert("anthropic-beta", bytes.clone());
    theirs.headers.insert("authorization", bytes);
    let request = inject(&Provider::anthropic(), theirs);
    assert_eq!(request.headers["anthropic-beta"].as_bytes(), b"\xff");
    assert!(!request.headers.contains_key("authorization"));
}

#[test]
fn no_policy_shows_a_key() {
    let policy = Provider::named("gemini").unwrap();
    let request = inject(&policy, request("/", &[]));
    let shown = format!("{policy:?} {:?}", request.headers);
    assert!(!shown.contains("our-key"), "{shown}");
}
