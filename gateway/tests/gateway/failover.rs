//! A request survives refused keys.

use http::Response;
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::support::{
    GOOD, LIMITED, REVOKED, file, gateway, post, send, soon, upstream, upstream_with,
};

#[tokio::test]
async fn a_request_succeeds_after_a_revoked_and_a_rate_limited_key() {
    let upstream = upstream().await;
    let gateway = gateway("anthropic", &upstream.url).keys([REVOKED, LIMITED, GOOD]);
    let gateway = gateway.listen().await;

    let response = send(post(&gateway.url("/v1/messages"))).await;

    assert_eq!((response.status, response.text.as_str()), (200, "fine"));
    assert_eq!(upstream.keys(), [REVOKED, LIMITED, GOOD]);
}

#[tokio::test]
async fn the_next_request_uses_the_good_key_at_once() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([REVOKED, GOOD]);
    let gateway = gateway.listen().await;

    send(post(&gateway.url("/v1/responses"))).await;
    send(post(&gateway.url("/v1/responses"))).await;

    assert_eq!(upstream.keys(), [REVOKED, GOOD, GOOD]);
}

#[tokio::test]
async fn the_complete_body_is_sent_again() {
    let upstream = upstream_with(async |request| Response::new(request.into_body()));
    let upstream = upstream.await;
    let gateway = gateway("openai", &upstream.url).keys([LIMITED, GOOD]);
    let gateway = gateway.listen().await;

    let response = send(post(&gateway.url("/v1/responses"))).await;

    assert_eq!(response.text, "question");
}

#[tokio::test]
async fn keys_can_come_from_a_file_with_comments() {
    let upstream = upstream().await;
    let file = file(&format!(
        "# the primary\n{REVOKED}\n\n{GOOD}  # its fallback\r\n"
    ));
    let gateway = gateway("bearer", &upstream.url);
    let gateway = gateway
        .args(["--keys-file", file.to_str().unwrap()])
        .listen()
        .await;
    std::fs::remove_file(file).unwrap();

    let response = send(post(&gateway.url("/"))).await;

    assert_eq!(response.status, 200);
    assert_eq!(upstream.keys(), [REVOKED, GOOD]);
}

#[tokio::test]
async fn a_custom_header_can_carry_the_key() {
    let upstream = upstream().await;
    let gateway = gateway("header:x-token", &upstream.url).keys([GOOD]);
    let gateway = gateway.listen().await;

    send(post(&gateway.url("/"))).await;

    assert_eq!(upstream.seen()[0].header("x-token"), Some(GOOD));
}

#[tokio::test]
async fn a_client_can_use_http_2() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([REVOKED, GOOD]);
    let gateway = gateway.listen().await;
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();

    let response = soon(client.request(post(&gateway.url("/v1/responses"))))
        .await
        .unwrap();

    assert_eq!(
        (response.status().as_u16(), response.version()),
        (200, http::Version::HTTP_2)
    );
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "fine"
    );
}

#[tokio::test]
async fn the_exhausted_response_has_the_providers_format() {
    let upstream = upstream().await;
    let gateway = gateway("anthropic", &upstream.url).keys([REVOKED, LIMITED]);
    let gateway = gateway.listen().await;

    let response = send(post(&gateway.url("/v1/messages"))).await;

    assert_eq!(response.status, 429);
    assert_eq!(response.headers["retry-after"], "30");
    assert_eq!(response.json()["error"]["type"], "rate_limit_error");
}
