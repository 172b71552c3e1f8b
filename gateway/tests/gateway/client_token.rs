//! The client token.

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
