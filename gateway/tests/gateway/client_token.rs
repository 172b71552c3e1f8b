//! The client token.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::{GOOD, TOKEN, Upstream, gateway, post, send, upstream, with};

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
