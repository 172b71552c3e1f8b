//! Requests with their own key.

use crate::support::{GOOD, REVOKED, gateway, post, send, upstream, with};

#[tokio::test]
async fn a_clients_own_key_is_forwarded_and_its_refusal_marks_no_key() {
    let upstream = upstream().await;
    let gateway = gateway("anthropic", &upstream.url).keys([GOOD]);
    let gateway = gateway.args(["--admin", "127.0.0.1:0"]).listen().await;

    let response = send(with(post(&gateway.url("/")), "x-api-key", REVOKED)).await;

    assert_eq!(response.status, 401);
    assert_eq!(upstream.keys(), [REVOKED]);
    assert_eq!(gateway.states().await, ["valid"]);
}

#[tokio::test]
async fn with_byok_never_a_clients_key_is_replaced() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.args(["--byok", "never"]).listen().await;

    send(with(
        post(&gateway.url("/")),
        "authorization",
        "Bearer sk-own",
    ))
    .await;

    assert_eq!(upstream.keys(), [GOOD]);
}

#[tokio::test]
async fn with_a_byok_prefix_a_key_that_starts_with_it_is_forwarded() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.args(["--byok", "prefix:sk-"]).listen().await;

    send(with(
        post(&gateway.url("/")),
        "authorization",
        "Bearer sk-own",
    ))
    .await;

    assert_eq!(upstream.keys(), ["sk-own"]);
}

#[tokio::test]
async fn with_a_byok_prefix_a_placeholder_is_replaced() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.args(["--byok", "prefix:sk-"]).listen().await;

    send(with(
        post(&gateway.url("/")),
        "authorization",
        "Bearer dummy",
    ))
    .await;

    assert_eq!(upstream.keys(), [GOOD]);
}

#[tokio::test]
async fn copilot_needs_no_keys_and_forwards_its_clients_token() {
    let upstream = upstream().await;
    let gateway = gateway("copilot", &upstream.url).listen().await;
    let request = post(&gateway.url("/chat/completions"));

    let response = send(with(request, "authorization", "Bearer tid=1;exp=2")).await;

    assert_eq!(response.status, 200);
    assert_eq!(upstream.keys(), ["tid=1;exp=2"]);
}
