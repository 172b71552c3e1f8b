//! The token that clients present.

use crate::support::{GOOD, TOKEN, Upstream, gateway, post, send, upstream, with};

fn assert_never_seen_by(upstream: &Upstream) {
    for seen in upstream.seen() {
        assert!(!format!("{seen:?}").contains(TOKEN), "{seen:?}");
    }
}

#[tokio::test]
async fn a_bearer_token_is_stripped_and_a_key_of_the_pool_used() {
    let upstream = upstream().await;
    let gateway = gateway("anthropic", &upstream.url)
        .keys([GOOD])
        .token()
        .listen()
        .await;
    let request = post(&gateway.url("/v1/messages"));

    let answer = send(with(request, "authorization", &format!("bearer {TOKEN}"))).await;

    assert_eq!(answer.status, 200);
    assert_eq!(upstream.keys(), [GOOD]);
    assert_never_seen_by(&upstream);
}

#[tokio::test]
async fn a_token_in_x_api_key_is_stripped_and_a_key_of_the_pool_used() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url)
        .keys([GOOD])
        .token()
        .listen()
        .await;

    let answer = send(with(
        post(&gateway.url("/v1/responses")),
        "x-api-key",
        TOKEN,
    ))
    .await;

    assert_eq!(answer.status, 200);
    assert_eq!(upstream.keys(), [GOOD]);
    assert_never_seen_by(&upstream);
}

#[tokio::test]
async fn without_token_or_key_a_client_gets_401_in_the_shape_of_anthropic() {
    let upstream = upstream().await;
    let gateway = gateway("anthropic", &upstream.url)
        .keys([GOOD])
        .token()
        .listen()
        .await;

    let answer = send(post(&gateway.url("/v1/messages"))).await;

    assert_eq!(answer.status, 401);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.json()["type"], "error");
    assert_eq!(answer.json()["error"]["type"], "authentication_error");
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn without_token_or_key_a_client_gets_401_in_the_shape_of_openai() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url)
        .keys([GOOD])
        .token()
        .listen()
        .await;

    let answer = send(post(&gateway.url("/v1/responses"))).await;

    assert_eq!(answer.status, 401);
    assert_eq!(answer.json()["error"]["code"], "invalid_api_key");
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_wrong_token_is_refused_where_no_client_brings_a_key() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).token();
    let gateway = gateway.args(["--byok", "never"]).listen().await;
    let almost = format!("Bearer {}x", &TOKEN[..TOKEN.len() - 1]);

    let answer = send(with(post(&gateway.url("/")), "authorization", &almost)).await;

    assert_eq!(answer.status, 401);
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_client_with_a_key_of_its_own_needs_no_token() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url)
        .keys([GOOD])
        .token()
        .listen()
        .await;

    let answer = send(with(
        post(&gateway.url("/")),
        "authorization",
        "Bearer sk-own",
    ))
    .await;

    assert_eq!(answer.status, 200);
    assert_eq!(upstream.keys(), ["sk-own"]);
}

#[tokio::test]
async fn a_client_may_bring_the_token_and_a_key_of_its_own() {
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
async fn a_copilot_client_without_a_token_of_any_kind_is_refused() {
    let upstream = upstream().await;
    let gateway = gateway("copilot", &upstream.url).token().listen().await;

    let answer = send(post(&gateway.url("/chat/completions"))).await;

    assert_eq!(answer.status, 401);
    assert!(upstream.seen().is_empty());
}
