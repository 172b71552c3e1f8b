//! What a proxy passes on, and what ends at it.

use axum::http::Response;

use crate::support::{GOOD, gateway, get, post, send, upstream, upstream_with, with};

#[tokio::test]
async fn path_and_query_follow_the_upstreams_base_path() {
    let upstream = upstream().await;
    let base = format!("{}/base/", upstream.url);
    let gateway = gateway("openai", &base).keys([GOOD]).listen().await;

    send(get(&gateway.url("/v1/models?limit=2&after=%2F"))).await;

    assert_eq!(
        upstream.seen()[0].target,
        "/base/v1/models?limit=2&after=%2F"
    );
}

#[tokio::test]
async fn the_host_is_the_upstreams() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;

    send(get(&gateway.url("/v1/models"))).await;

    let host = upstream.url.strip_prefix("http://");
    assert_eq!(upstream.seen()[0].header("host"), host);
}

#[tokio::test]
async fn headers_of_the_clients_connection_end_here() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;
    let mut request = post(&gateway.url("/"));
    for (name, value) in [
        ("connection", "x-listed, keep-alive"),
        ("x-listed", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authorization", "Basic Og=="),
        ("proxy-connection", "keep-alive"),
        ("te", "gzip, trailers"),
        ("upgrade", "websocket"),
        ("cookie", "session=1"),
        ("x-kept", "1"),
    ] {
        request = with(request, name, value);
    }

    send(request).await;

    let seen = &upstream.seen()[0];
    for gone in [
        "connection",
        "x-listed",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "upgrade",
        "cookie",
    ] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    assert_eq!(seen.header("te"), Some("trailers"));
    assert_eq!(seen.header("x-kept"), Some("1"));
}

#[tokio::test]
async fn headers_of_the_upstreams_connection_end_here() {
    let upstream = upstream_with(async |_| {
        let response = Response::builder()
            .header("connection", "x-listed")
            .header("x-listed", "1")
            .header("proxy-authenticate", "Basic")
            .header("set-cookie", "session=1")
            .header("x-kept", "1");
        response.body("".into()).unwrap()
    });
    let upstream = upstream.await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;

    let answer = send(get(&gateway.url("/"))).await;

    for gone in ["x-listed", "proxy-authenticate", "set-cookie"] {
        assert!(!answer.headers.contains_key(gone), "{gone}");
    }
    assert_eq!(answer.headers["x-kept"], "1");
}

#[tokio::test]
async fn the_body_keeps_its_length() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;

    let answer = send(post(&gateway.url("/"))).await;

    assert_eq!(upstream.seen()[0].header("content-length"), Some("8"));
    assert_eq!(answer.headers["content-length"], "4");
}
