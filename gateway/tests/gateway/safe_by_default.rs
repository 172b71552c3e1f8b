//! What a gateway without a client token accepts.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{
    GOOD, Gateway, Start, TOKEN, bare, gateway, post, send, soon, upstream, with,
};

const UPSTREAM: &str = "http://127.0.0.1:9";

/// A gateway that listens on this address.
fn gateway_at(address: &str, upstream: &str) -> Start {
    let gateway = bare().args(["--provider", "openai", "--upstream", upstream]);
    gateway.args(["--listen", address]).keys([GOOD])
}

/// Sends a request head as it is, and returns the status of the response.
async fn status_of(gateway: &Gateway, head: &str) -> u16 {
    let address = gateway.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{head}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    soon(stream.read_to_end(&mut response)).await.unwrap();
    let response = String::from_utf8(response).unwrap();
    response["HTTP/1.1 ".len()..][..3].parse().unwrap()
}

#[tokio::test]
async fn without_a_client_token_the_gateway_does_not_listen_beyond_loopback() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let line = gateway_at(address, UPSTREAM).refused().await;
        assert!(line.contains("--open") && line.contains(address), "{line}");
        assert!(line.contains("GATEWAY_CLIENT_TOKEN"), "{line}");
    }
}

#[tokio::test]
async fn with_open_anyone_who_can_connect_uses_the_keys() {
    let upstream = upstream().await;
    let gateway = gateway_at("0.0.0.0:0", &upstream.url).args(["--open"]);
    let gateway = gateway.listen().await;
    let url = gateway.url("/v1/models").replace("0.0.0.0", "127.0.0.1");

    let mut request = with(post(&url), "origin", "http://page.example");
    let host = "gateway.example".parse().unwrap();
    request.headers_mut().insert("host", host);

    assert_eq!(send(request).await.status, 200);
    assert_eq!(upstream.keys(), [GOOD]);
}

#[tokio::test]
async fn with_a_client_token_any_host_is_accepted_beyond_loopback() {
    let upstream = upstream().await;
    let gateway = gateway_at("0.0.0.0:0", &upstream.url).token();
    let gateway = gateway.listen().await;
    let url = gateway.url("/").replace("0.0.0.0", "127.0.0.1");

    let mut request = with(post(&url), "authorization", &format!("Bearer {TOKEN}"));
    let host = "gateway.example".parse().unwrap();
    request.headers_mut().insert("host", host);

    assert_eq!(send(request).await.status, 200);
}

#[tokio::test]
async fn without_a_client_token_the_host_must_be_local() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;

    for head in [
        "GET / HTTP/1.1\r\nhost: evil.example",
        "GET / HTTP/1.1\r\nhost: evil.example:8080",
        "GET / HTTP/1.1\r\nhost: localhost.evil.example",
        "GET / HTTP/1.1\r\nhost: localhost.",
        "GET / HTTP/1.1\r\nhost: localhost@evil.example",
        "GET / HTTP/1.1\r\nhost: evil.example@localhost",
        "GET / HTTP/1.1\r\nhost: 0.0.0.0",
        "GET / HTTP/1.1\r\nhost: 10.0.0.1",
        "GET / HTTP/1.1\r\nhost: 2130706433",
        "GET / HTTP/1.1\r\nhost: [::]",
        "GET / HTTP/1.1\r\nhost: [fe80::1]",
        "GET / HTTP/1.1\r\nhost: ",
        "GET / HTTP/1.1\r\nhost: /",
        "GET / HTTP/1.1\r\nhost: localhost\r\nhost: evil.example",
        "GET / HTTP/1.1\r\naccept: */*",
        "GET / HTTP/1.0",
        "GET http://evil.example/ HTTP/1.1\r\nhost: localhost",
        "GET http://localhost/ HTTP/1.1\r\nhost: evil.example",
        "GET http://localhost@evil.example/ HTTP/1.1\r\nhost: localhost",
        "GET / HTTP/1.1\r\nhost: evil.example\r\nauthorization: Bearer sk-own",
    ] {
        assert_eq!(status_of(&gateway, head).await, 421, "{head}");
    }
    assert!(upstream.seen().is_empty());
    for head in [
        "GET / HTTP/1.1\r\nhost: localhost",
        "GET / HTTP/1.1\r\nhost: LocalHost:8080",
        "GET / HTTP/1.1\r\nhost: 127.0.0.1",
        "GET / HTTP/1.1\r\nhost: 127.9.9.9:1",
        "GET / HTTP/1.1\r\nhost: [::1]:80",
        "GET / HTTP/1.1\r\nhost: [::ffff:127.0.0.1]",
        "GET http://localhost/ HTTP/1.1\r\nhost: localhost",
    ] {
        assert_eq!(status_of(&gateway, head).await, 200, "{head}");
    }
}

#[tokio::test]
async fn without_a_client_token_pages_of_other_origins_use_no_key() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.args(["--byok", "prefix:sk-"]).listen().await;
    let port = gateway.url.rsplit(':').next().unwrap();
    let other_name = format!("http://localhost:{port}");

    for (name, value) in [
        ("origin", "http://page.example"),
        ("origin", "http://127.0.0.1:1"),
        ("origin", "http://127.0.0.1"),
        ("origin", other_name.as_str()),
        ("origin", "null"),
        ("origin", ""),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", ""),
    ] {
        let request = with(post(&gateway.url("/")), name, value);
        let response = send(request).await;
        assert_eq!(response.status, 403, "{name}: {value}");
        assert!(!response.headers.contains_key("access-control-allow-origin"));
        let request = with(post(&gateway.url("/")), "authorization", "Bearer dummy");
        let response = send(with(request, name, value)).await;
        assert_eq!(response.status, 403, "{name}: {value}");
    }
    let link = with(post(&gateway.url("/")), "sec-fetch-site", "cross-site");
    let link = with(link, "sec-fetch-mode", "navigate");
    let link = with(link, "sec-fetch-dest", "document");
    assert_eq!(send(link).await.status, 403);
    assert!(upstream.seen().is_empty());

    let own = with(post(&gateway.url("/")), "authorization", "Bearer sk-own");
    let own = with(own, "origin", "http://page.example");
    assert_eq!(send(own).await.status, 200);
    let same = with(post(&gateway.url("/")), "origin", &gateway.url);
    let same = with(same, "sec-fetch-site", "same-origin");
    assert_eq!(send(same).await.status, 200);
    assert_eq!(upstream.keys(), ["sk-own", GOOD]);
}

#[tokio::test]
async fn without_a_client_token_pages_of_other_origins_open_no_web_socket() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;
    let head = "GET /v1/realtime HTTP/1.1\r\nhost: localhost\r\norigin: http://page.example\r\n\
                upgrade: websocket\r\nsec-websocket-version: 13\r\n\
                sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";

    assert_eq!(status_of(&gateway, head).await, 403);
    assert!(upstream.seen().is_empty());
}
