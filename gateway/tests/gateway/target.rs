//! The targets of requests.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{GOOD, Gateway, gateway, soon, upstream};

/// Sends a target as it is, and returns the response.
async fn response_to(gateway: &Gateway, target: &str) -> String {
    let address = gateway.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut response = String::new();
    soon(stream.read_to_string(&mut response)).await.unwrap();
    response
}

#[tokio::test]
async fn a_target_that_would_leave_the_base_path_is_rejected() {
    let upstream = upstream().await;
    let base = format!("{}/base/v1", upstream.url);
    let gateway = gateway("openai", &base).keys([GOOD]).listen().await;

    for target in [
        "/..",
        "/../admin",
        "/a/../../admin",
        "/%2e%2e/admin",
        "/.%2E/admin",
        "/%252e%252e/admin",
        "/..%2fadmin",
        "/a%2f..%2f..%2fadmin",
        "/..;/admin",
        r"/..\admin",
        r"/\..\admin",
        "/..%5cadmin",
        "//evil.example/",
        "/a//../../admin",
        "/%2fevil.example/",
        "/%c0%ae%c0%ae/admin",
        "http://localhost/../admin",
        "http://localhost//evil.example/",
        "http://localhost?a",
    ] {
        let response = response_to(&gateway, target).await;
        assert!(
            response.starts_with("HTTP/1.1 400 "),
            "{target}: {response}"
        );
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn dot_segments_below_the_base_path_are_resolved_and_other_targets_are_unchanged() {
    let upstream = upstream().await;
    let base = format!("{}/base/", upstream.url);
    let gateway = gateway("openai", &base).keys([GOOD]).listen().await;

    for (sent, forwarded) in [
        ("/v1/x/../models?q=/../", "/base/v1/models?q=/../"),
        ("/v1/%2e/models", "/base/v1/models"),
        (
            "/model/arn%3Aa%2Fb/invoke?x=%2F",
            "/base/model/arn%3Aa%2Fb/invoke?x=%2F",
        ),
        ("http://localhost/v1/", "/base/v1/"),
        ("http://localhost", "/base/"),
    ] {
        let response = response_to(&gateway, sent).await;
        assert!(response.starts_with("HTTP/1.1 200 "), "{sent}: {response}");
        assert_eq!(upstream.seen().pop().unwrap().target, forwarded);
    }
}
