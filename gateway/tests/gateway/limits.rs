//! Limits of a request.

use crate::support::{GOOD, LIMITED, REVOKED, gateway, post, send, upstream};

#[tokio::test]
async fn a_request_tries_no_more_keys_than_max_attempts() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([REVOKED, LIMITED, GOOD]);
    let gateway = gateway.args(["--max-attempts", "2"]).listen().await;

    let response = send(post(&gateway.url("/"))).await;

    assert_eq!(response.status, 429);
    assert_eq!(upstream.keys(), [REVOKED, LIMITED]);
}

#[tokio::test]
async fn a_body_over_max_replay_bytes_is_sent_once() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([LIMITED, GOOD]);
    let gateway = gateway.args(["--max-replay-bytes", "7"]).listen().await;

    let response = send(post(&gateway.url("/"))).await;

    assert_eq!(response.status, 429);
    assert_eq!(upstream.keys(), [LIMITED]);
}

#[tokio::test]
async fn a_body_over_the_replay_budget_is_sent_once() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([LIMITED, GOOD]);
    let gateway = gateway.args(["--replay-budget", "7"]).listen().await;

    let response = send(post(&gateway.url("/"))).await;

    assert_eq!(response.status, 429);
    assert_eq!(upstream.keys(), [LIMITED]);
}
