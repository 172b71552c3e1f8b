//! No key and no token is ever printed or answered.

#![cfg(unix)]

use axum::http::Response;

use crate::support::{
    GOOD, LIMITED, REVOKED, TOKEN, gateway, get, nobody, post, send, upstream_with, with,
};

fn assert_clean(text: &str) {
    for secret in [GOOD, LIMITED, REVOKED, TOKEN] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn nothing_printed_or_answered_holds_a_key_or_the_token() {
    // It refuses every key, and the last with a 403 that echoes it.
    let upstream = upstream_with(async |request| {
        let echo = format!("{:?}", request.headers()["authorization"]);
        Response::builder().status(403).body(echo.into()).unwrap()
    });
    let upstream = upstream.await;
    let gateway = gateway("openai", &upstream.url)
        .keys([REVOKED, LIMITED, GOOD])
        .token();
    let gateway = gateway.args(["--admin", "127.0.0.1:0"]).listen().await;

    for _ in 0..2 {
        let request = with(post(&gateway.url("/")), "x-api-key", TOKEN);
        let answer = send(request).await;
        assert!([429, 502].contains(&answer.status));
        assert_clean(&format!("{:?} {}", answer.headers, answer.text));
    }
    let unauthorized = send(post(&gateway.url("/"))).await;
    assert_clean(&format!("{:?} {}", unauthorized.headers, unauthorized.text));
    let admin = send(get(&format!("{}/keys", gateway.admin))).await;
    assert_clean(&format!("{:?} {}", admin.headers, admin.text));

    gateway.signal("TERM").await;
    let ended = gateway.ended().await;
    assert_eq!(ended.stdout.lines().count(), 2);
    assert_clean(&ended.stdout);
    assert_clean(&ended.stderr);
}

#[tokio::test]
async fn what_is_printed_about_a_failed_upstream_holds_no_key() {
    let (nowhere, _held) = nobody();
    let gateway = gateway("openai", &nowhere)
        .keys([GOOD])
        .token()
        .listen()
        .await;
    let request = with(
        post(&gateway.url("/?key=sk-in-the-query")),
        "x-api-key",
        TOKEN,
    );

    let answer = send(request).await;
    gateway.signal("TERM").await;

    let ended = gateway.ended().await;
    assert!(ended.stderr.contains("the upstream cannot be reached"));
    assert!(!ended.stderr.contains("sk-in-the-query"));
    assert_clean(&answer.text);
    assert_clean(&ended.stderr);
}
