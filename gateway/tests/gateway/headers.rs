//! Headers and targets that the gateway forwards, changes or removes.

use axum::body::Body;
use axum::http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{GOOD, gateway, get, post, send, soon, upstream, upstream_with, with};

#[tokio::test]
async fn path_and_query_are_appended_to_the_base_path() {
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
async fn the_host_header_is_the_upstreams() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;

    send(get(&gateway.url("/v1/models"))).await;

    let host = upstream.url.strip_prefix("http://");
    assert_eq!(upstream.seen()[0].header("host"), host);
}

#[tokio::test]
async fn hop_by_hop_request_headers_are_not_forwarded() {
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
async fn hop_by_hop_response_headers_are_not_forwarded() {
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

    let response = send(get(&gateway.url("/"))).await;

    for gone in ["x-listed", "proxy-authenticate", "set-cookie"] {
        assert!(!response.headers.contains_key(gone), "{gone}");
    }
    assert_eq!(response.headers["x-kept"], "1");
}

#[tokio::test]
async fn the_body_keeps_its_content_length() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;

    let response = send(post(&gateway.url("/"))).await;

    assert_eq!(upstream.seen()[0].header("content-length"), Some("8"));
    assert_eq!(response.headers["content-length"], "4");
}

#[tokio::test]
async fn a_get_keeps_its_body_of_unknown_length() {
    let upstream = upstream_with(async |request| Response::new(request.into_body())).await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;
    let question = futures_util::stream::iter([Ok::<_, std::io::Error>("question")]);
    let mut request = get(&gateway.url("/"));
    *request.body_mut() = Body::from_stream(question);

    let response = send(with(request, "transfer-encoding", "chunked")).await;

    assert_eq!(response.text, "question");
}

#[tokio::test]
async fn a_target_without_a_path_is_rejected() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;

    for target in ["OPTIONS *", "CONNECT elsewhere:443"] {
        let mut stream = TcpStream::connect(gateway.url.strip_prefix("http://").unwrap())
            .await
            .unwrap();
        let request = format!("{target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        soon(stream.read_to_string(&mut response)).await.unwrap();

        assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    }
    assert!(upstream.seen().is_empty());
}
