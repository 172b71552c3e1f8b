//! The client token.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use crate::support::{
    GOOD, TOKEN, Upstream, gateway, post, send, soon, upstream, upstream_with, with,
};

fn assert_never_seen_by(upstream: &Upstream) {
    for seen in upstream.seen() {
        assert!(!format!("{seen:?}").contains(TOKEN), "{seen:?}");
    }
}

#[tokio::test]
async fn a_client_token_in_authorization_is_replaced_by_a_key() {
    let upstream = upstream().await;
    let gateway = gateway("anthropic", &upstream.url)
        .keys([GOOD])
        .token()
        .listen()
        .await;
    let request = post(&gateway.url("/v1/messages"));

    let response = send(with(request, "authorization", &format!("bearer {TOKEN}"))).await;

    assert_eq!(response.status, 200);
    assert_eq!(upstream.keys(), [GOOD]);
    assert_never_seen_by(&upstream);
}

#[tokio::test]
async fn a_client_token_in_x_api_key_is_replaced_by_a_key() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url)
        .keys([GOOD])
        .token()
        .listen()
        .await;

    let response = send(with(
        post(&gateway.url("/v1/responses")),
        "x-api-key",
        TOKEN,
    ))
    .await;

    assert_eq!(response.status, 200);
    assert_eq!(upstream.keys(), [GOOD]);
    assert_never_seen_by(&upstream);
}

#[tokio::test]
async fn a_client_without_token_or_key_gets_401_in_anthropics_format() {
    let upstream = upstream().await;
    let gateway = gateway("anthropic", &upstream.url)
        .keys([GOOD])
        .token()
        .listen()
        .await;

    let response = send(post(&gateway.url("/v1/messages"))).await;

    assert_eq!(response.status, 401);
    assert_eq!(response.headers["content-type"], "application/json");
    assert_eq!(response.json()["type"], "error");
    assert_eq!(response.json()["error"]["type"], "authentication_error");
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_client_without_token_or_key_gets_401_in_openais_format() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url)
        .keys([GOOD])
        .token()
        .listen()
        .await;

    let response = send(post(&gateway.url("/v1/responses"))).await;

    assert_eq!(response.status, 401);
    assert_eq!(response.json()["error"]["code"], "invalid_api_key");
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_wrong_client_token_gets_401_in_the_format_of_each_provider() {
    let upstream = upstream().await;
    for (provider, pointer, expected) in [
        ("anthropic", "/error/type", "authentication_error"),
        ("gemini", "/error/status", "UNAUTHENTICATED"),
        ("vertex", "/error/status", "UNAUTHENTICATED"),
        ("mistral", "/type", "authentication_error"),
        ("mistral", "/error/code", "invalid_api_key"),
        (
            "cohere",
            "/message",
            "this gateway requires its client token, or your own key",
        ),
        (
            "bedrock",
            "/message",
            "this gateway requires its client token, or your own key",
        ),
        ("azure_openai", "/error/code", "invalid_api_key"),
        ("groq", "/error/code", "invalid_api_key"),
        ("deepseek", "/error/code", "invalid_api_key"),
        ("openrouter", "/error/type", "authentication_error"),
        ("together", "/error/type", "authentication_error"),
        ("perplexity", "/error/type", "authentication_error"),
        ("xai", "/error/type", "authentication_error"),
        ("header:x-custom", "/error/type", "authentication_error"),
    ] {
        let gateway = gateway(provider, &upstream.url).keys([GOOD]).token();
        let gateway = gateway.args(["--byok", "never"]).listen().await;

        let request = with(post(&gateway.url("/")), "authorization", "Bearer wrong");
        let response = send(with(request, "x-api-key", "wrong")).await;

        assert_eq!(response.status, 401, "{provider}");
        let found = response.json();
        let found = found.pointer(pointer).and_then(|it| it.as_str());
        assert_eq!(found, Some(expected), "{provider}");
        let kind = response.headers.get("x-amzn-errortype");
        assert_eq!(kind.is_some(), provider == "bedrock");
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_wrong_client_token_is_rejected_with_byok_never() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).token();
    let gateway = gateway.args(["--byok", "never"]).listen().await;
    let almost = format!("Bearer {}x", &TOKEN[..TOKEN.len() - 1]);

    let response = send(with(post(&gateway.url("/")), "authorization", &almost)).await;

    assert_eq!(response.status, 401);
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_client_with_its_own_key_needs_no_token() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url)
        .keys([GOOD])
        .token()
        .listen()
        .await;

    let response = send(with(
        post(&gateway.url("/")),
        "authorization",
        "Bearer sk-own",
    ))
    .await;

    assert_eq!(response.status, 200);
    assert_eq!(upstream.keys(), ["sk-own"]);
}

#[tokio::test]
async fn a_client_can_send_the_token_and_its_own_key() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url)
        .keys([GOOD])
        .token()
        .listen()
        .await;
    let request = with(post(&gateway.url("/")), "authorization", "Bearer sk-own");

    send(with(request, "x-api-key", TOKEN)).await;

    assert_eq!(upstream.keys(), ["sk-own"]);
    assert_never_seen_by(&upstream);
}

#[tokio::test]
async fn a_copilot_client_without_any_token_is_rejected() {
    let upstream = upstream().await;
    let gateway = gateway("copilot", &upstream.url).token().listen().await;

    let response = send(post(&gateway.url("/chat/completions"))).await;

    assert_eq!(response.status, 401);
    assert!(upstream.seen().is_empty());
}

/// `Basic` with a user name and a password.
fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test]
async fn a_client_token_in_any_header_or_scheme_is_replaced_by_a_key() {
    let upstream = upstream().await;
    for provider in [
        "openai",
        "anthropic",
        "azure_openai",
        "gemini",
        "header:x-custom",
    ] {
        let gateway = gateway(provider, &upstream.url).keys([GOOD]).token();
        let gateway = gateway.listen().await;
        for (name, value) in [
            ("authorization", TOKEN.to_owned()),
            ("authorization", format!("Bearer  {TOKEN} ")),
            ("authorization", format!("Token {TOKEN}")),
            ("authorization", basic("user", TOKEN)),
            ("authorization", basic(TOKEN, "")),
            (
                "authorization",
                basic("a:b", TOKEN).replace("Basic", "basic"),
            ),
            ("authorization", basic("user", TOKEN).replace('=', "")),
            ("x-api-key", TOKEN.to_owned()),
            ("api-key", format!("Bearer {TOKEN}")),
            ("x-goog-api-key", TOKEN.to_owned()),
            ("ocp-apim-subscription-key", TOKEN.to_owned()),
            ("x-custom", TOKEN.to_owned()),
            ("x-custom", format!("Bearer {TOKEN}")),
            ("proxy-authorization", format!("Bearer {TOKEN}")),
            ("authorization", format!("Bearer \"{TOKEN}\"")),
            ("authorization", format!("Bearer Bearer {TOKEN}")),
            ("authorization", format!("Bearer {TOKEN}, Bearer other")),
            ("authorization", format!("Token token=\"{TOKEN}\"")),
            (
                "authorization",
                format!("AWS4-HMAC-SHA256 Credential={TOKEN}/20260101/us-east-1/x, Signature=0"),
            ),
            ("authorization", basic("???", TOKEN).replace('/', "_")),
            ("x-amz-security-token", TOKEN.to_owned()),
        ] {
            let request = with(post(&gateway.url("/")), name, &value);
            assert_eq!(
                send(request).await.status,
                200,
                "{provider}: {name}: {value}"
            );
        }
    }
    for seen in upstream.seen() {
        let headers = format!("{seen:?}");
        assert!(headers.contains(GOOD), "{headers}");
        assert!(!headers.contains(&basic("user", TOKEN)), "{headers}");
    }
    assert_never_seen_by(&upstream);
}

#[tokio::test]
async fn a_client_token_in_the_query_is_removed_and_the_rest_of_the_query_stays() {
    let upstream = upstream().await;
    let gateway = gateway("gemini", &upstream.url).keys([GOOD]).token();
    let gateway = gateway.listen().await;

    for (sent, forwarded) in [
        (format!("/v1beta/models?key={TOKEN}"), "/v1beta/models"),
        (format!("/a?alt=sse&key={TOKEN}&b=%2F"), "/a?alt=sse&b=%2F"),
        (format!("/a?key={TOKEN}&key={TOKEN}"), "/a"),
        (format!("/a?access_token=%74{}", &TOKEN[1..]), "/a"),
        (format!("/a?{TOKEN}&b"), "/a?b"),
        (format!("/a?key=Bearer+{TOKEN}"), "/a"),
        (format!("/a?key={TOKEN};alt=sse"), "/a"),
    ] {
        let request = with(post(&gateway.url(&sent)), "referer", &gateway.url(&sent));
        assert_eq!(send(request).await.status, 200, "{sent}");
        let seen = upstream.seen().pop().unwrap();
        assert_eq!(seen.target, forwarded);
        assert_eq!(seen.header("x-goog-api-key"), Some(GOOD));
    }
    assert_never_seen_by(&upstream);
}

#[tokio::test]
async fn a_client_token_next_to_an_own_key_is_removed_and_the_key_stays() {
    let upstream = upstream().await;
    let gateway = gateway("gemini", &upstream.url).keys([GOOD]).token();
    let gateway = gateway.listen().await;

    let request = post(&gateway.url(&format!("/a?key=own&access_token={TOKEN}")));
    let request = with(request, "authorization", &format!("Bearer {TOKEN}"));
    send(with(request, "authorization", "Bearer own-oauth")).await;

    let seen = upstream.seen().pop().unwrap();
    assert_eq!(seen.target, "/a?key=own");
    assert_eq!(seen.header("authorization"), Some("Bearer own-oauth"));
    assert_eq!(seen.header("x-goog-api-key"), None);
    assert_never_seen_by(&upstream);
}

#[tokio::test]
async fn copies_of_a_client_token_in_headers_and_query_are_not_forwarded() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).token();
    let gateway = gateway.listen().await;

    for (name, value) in [("x-api-key", TOKEN), ("authorization", "Bearer sk-own")] {
        for target in [
            "/".to_owned(),
            format!("/?url=http://host/?key=x{TOKEN}"),
            format!("/?url=http%3A%2F%2Fhost%2F%3Fkey%3D{TOKEN}x"),
            format!("/?{TOKEN}x=1"),
        ] {
            let request = with(post(&gateway.url(&target)), name, value);
            let request = with(request, "x-note", &format!("a-{TOKEN}-b"));
            assert_eq!(send(request).await.status, 200, "{name}: {target}");
        }
    }
    assert_eq!(upstream.keys().iter().filter(|key| *key == GOOD).count(), 4);
    assert_never_seen_by(&upstream);
}

#[tokio::test]
async fn a_client_token_in_trailers_is_not_forwarded() {
    let (trailers, mut received) = tokio::sync::mpsc::unbounded_channel();
    let upstream = upstream_with(move |request: Request<Body>| {
        let trailers = trailers.clone();
        async move {
            let body = request.into_body().collect().await.unwrap();
            trailers.send(body.trailers().cloned()).unwrap();
            Response::new("fine".into())
        }
    })
    .await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).token();
    let gateway = gateway.listen().await;

    for (name, value) in [("x-api-key", TOKEN), ("authorization", "Bearer sk-own")] {
        let mut trailers = HeaderMap::new();
        for (name, value) in [
            ("x-kept", "kept".to_owned()),
            ("x-note", TOKEN.to_owned()),
            ("x-other", format!("a-{TOKEN}-b")),
        ] {
            trailers.insert(name, value.parse().unwrap());
        }
        let frames = [
            Ok::<_, Infallible>(Frame::data(Bytes::from("question"))),
            Ok(Frame::trailers(trailers)),
        ];
        let body = Body::new(StreamBody::new(futures_util::stream::iter(frames)));
        let request = Request::post(gateway.url("/")).body(body).unwrap();
        let request = with(request, "trailer", "x-kept, x-note, x-other");

        send(with(request, name, value)).await;

        let trailers = soon(received.recv()).await.unwrap().unwrap();
        assert_eq!(trailers["x-kept"], "kept");
        assert_eq!(trailers.len(), 1, "{name}: {trailers:?}");
    }
}

#[tokio::test]
async fn a_wrong_client_token_is_rejected_in_every_place() {
    let upstream = upstream().await;
    let gateway = gateway("header:x-custom", &upstream.url)
        .keys([GOOD])
        .token();
    let gateway = gateway.args(["--byok", "never"]).listen().await;
    let (shorter, longer) = (&TOKEN[1..], format!("{TOKEN}x"));

    for wrong in ["", "wrong", shorter, &longer, &TOKEN.to_uppercase()] {
        for (name, value) in [
            ("authorization", format!("Bearer {wrong}")),
            ("authorization", basic("user", wrong)),
            ("authorization", basic(wrong, "")),
            ("authorization", "Basic !".to_owned()),
            ("x-api-key", wrong.to_owned()),
            ("x-custom", wrong.to_owned()),
            ("sec-websocket-protocol", format!("realtime, x.{wrong}")),
            ("cookie", format!("token={TOKEN}")),
            ("x-note", format!("a-{TOKEN}-b")),
            ("authorization", format!("Bearer{TOKEN}")),
        ] {
            let request = post(&gateway.url(&format!("/?key={wrong}")));
            let response = send(with(request, name, &value)).await;
            assert_eq!(response.status, 401, "{name}: {value}");
            assert_eq!(response.headers["www-authenticate"], "Bearer");
        }
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn white_space_around_the_client_token_does_not_belong_to_it() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.env("GATEWAY_CLIENT_TOKEN", &format!(" {TOKEN}\n"));
    let gateway = gateway.listen().await;

    let response = send(with(post(&gateway.url("/")), "x-api-key", TOKEN)).await;

    assert_eq!(response.status, 200);
}

#[tokio::test]
async fn a_short_client_token_removes_nothing_else_that_contains_it() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.env("GATEWAY_CLIENT_TOKEN", "test").listen().await;
    let request = with(post(&gateway.url("/?q=testing")), "x-purpose", "testing");

    let response = send(with(request, "authorization", "Bearer test")).await;

    assert_eq!(response.status, 200);
    let seen = upstream.seen().pop().unwrap();
    assert_eq!(seen.header("x-purpose"), Some("testing"));
    assert_eq!(seen.target, "/?q=testing");
}
