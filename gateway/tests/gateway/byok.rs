//! Requests that bring a key of their own.

use crate::support::{GOOD, REVOKED, gateway, post, send, upstream, with};

#[tokio::test]
async fn a_clients_own_key_is_sent_on_and_its_refusal_costs_the_pool_nothing() {
    let upstream = upstream().await;
    let gateway = gateway("anthropic", &upstream.url).keys([GOOD]);
    let gateway = gateway.args(["--admin", "127.0.0.1:0"]).listen().await;

    let answer = send(with(post(&gateway.url("/")), "x-api-key", REVOKED)).await;

    assert_eq!(answer.status, 401);
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
async fn with_a_prefix_a_key_that_begins_with_it_is_sent_on() {
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
async fn with_a_prefix_a_placeholder_is_replaced() {
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
async fn copilot_needs_no_keys_and_passes_its_clients_token_on() {
    let upstream = upstream().await;
    let gateway = gateway("copilot", &upstream.url).listen().await;
    let request = post(&gateway.url("/chat/completions"));

    let answer = send(with(request, "authorization", "Bearer tid=1;exp=2")).await;

    assert_eq!(answer.status, 200);
    assert_eq!(upstream.keys(), ["tid=1;exp=2"]);
}
