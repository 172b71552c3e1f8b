//! What the gateway logs to stderr.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::Response;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{
    GOOD, Gateway, LIMITED, REVOKED, Start, file, gateway, get, post, send, soon, upstream,
    upstream_with, with,
};

fn lines(gateway: &Gateway, what: &str) -> Vec<String> {
    let printed = gateway.stderr();
    let lines = printed.lines().filter(|line| line.contains(what));
    lines.map(str::to_owned).collect()
}

fn start(upstream: &str, keys: &str) -> (Start, std::path::PathBuf) {
    let file = file(keys);
    let start = gateway("anthropic", upstream).keys_file(&file);
    (start.admin().admin_token(), file)
}

#[tokio::test]
async fn the_start_is_summarized_with_keys_by_label_and_hint() {
    let (start, file) = start(
        "https://api.example/base",
        &format!("a = {GOOD}\n{LIMITED}\n"),
    );
    let gateway = start.listen().await;
    gateway.prints("started").await;

    let printed = gateway.stderr();
    std::fs::remove_file(file).unwrap();

    assert_eq!(printed.lines().count(), 1, "{printed}");
    for part in [
        "INFO gateway: started",
        "provider=\"anthropic\"",
        "upstream=https://api.example/base",
        "a (sk-c...3333), sk-c...2222",
        "admin, admin token, keys file",
        env!("CARGO_PKG_VERSION"),
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
}

#[tokio::test]
async fn marks_returns_and_exhaustion_are_one_line_each() {
    let upstream = upstream().await;
    let (start, file) = start(&upstream.url, &format!("a = {REVOKED}\nb = {LIMITED}\n"));
    let gateway = start.listen().await;
    std::fs::remove_file(file).unwrap();

    assert_eq!(send(post(&gateway.url("/"))).await.status, 429);
    gateway.change("/keys/b/reinstate").await;
    gateway.prints("key returned to service").await;

    let permanent = lines(&gateway, "key marked permanent");
    assert_eq!(permanent.len(), 1);
    assert!(permanent[0].contains("key.label=\"a\""), "{permanent:?}");
    assert!(
        permanent[0].contains("key.hint=\"sk-c...1111\""),
        "{permanent:?}"
    );
    let temporary = lines(&gateway, "key marked temporary");
    assert_eq!(temporary.len(), 1);
    assert!(temporary[0].contains("cooldown=30s"), "{temporary:?}");
    assert_eq!(lines(&gateway, "key pool exhausted").len(), 1);
    let returned = lines(&gateway, "key returned to service");
    assert_eq!(returned.len(), 1);
    assert!(returned[0].contains("by=\"operator\""), "{returned:?}");
}

#[tokio::test]
async fn with_json_each_line_is_an_object() {
    let upstream = upstream().await;
    let gateway = gateway("anthropic", &upstream.url).keys([REVOKED, GOOD]);
    let gateway = gateway.args(["--log", "json"]).listen().await;

    send(post(&gateway.url("/"))).await;
    gateway.prints("key marked permanent").await;

    let printed = gateway.stderr();
    let objects = printed.lines().map(serde_json::from_str::<Value>);
    let objects: Vec<Value> = objects.collect::<Result<_, _>>().unwrap();
    assert_eq!(objects[0]["message"], "started");
    assert_eq!(objects[0]["provider"], "anthropic");
    assert_eq!(objects[1]["message"], "key marked permanent");
    assert_eq!(objects[1]["key.hint"], "sk-c...1111");
    assert_eq!(objects[1]["level"], "WARN");
}

#[tokio::test]
async fn with_log_off_nothing_is_printed() {
    let upstream = upstream().await;
    let gateway = gateway("anthropic", &upstream.url).keys([REVOKED]);
    let gateway = gateway.args(["--log", "off"]).listen().await;

    send(post(&gateway.url("/"))).await;
    gateway.signal("TERM").await;

    assert_eq!(gateway.ended().await.stderr, "");
}

#[tokio::test]
async fn the_end_of_a_cooldown_is_one_line() {
    let upstream = upstream().await;
    let (start, file) = start(&upstream.url, &format!("a = {LIMITED}\nb = {GOOD}\n"));
    let gateway = start.args(["--max-cooldown", "1s"]).listen().await;
    std::fs::remove_file(file).unwrap();

    assert_eq!(send(post(&gateway.url("/"))).await.status, 200);
    gateway.prints("key returned to service").await;

    let returned = lines(&gateway, "key returned to service");
    assert_eq!(returned.len(), 1, "{returned:?}");
    for part in [
        "key.label=\"a\"",
        "key.hint=\"sk-c...2222\"",
        "by=\"cooldown\"",
    ] {
        assert!(returned[0].contains(part), "{returned:?}");
    }
    gateway.signal("TERM").await;
    let printed = gateway.ended().await.stderr;
    assert_eq!(printed.matches("returned to service").count(), 1);
}

#[tokio::test]
async fn an_outage_of_the_upstream_is_logged_once_when_it_begins_and_once_when_it_ends() {
    let is_out = Arc::new(AtomicBool::new(true));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let closes = Arc::clone(&is_out);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // The request has no body.
            let _ = stream.read(&mut [0; 1024]).await;
            if !closes.load(Ordering::Relaxed) {
                let response = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                stream.write_all(response.as_bytes()).await.unwrap();
            }
        }
    });
    let gateway = gateway("openai", &url).keys([GOOD]).listen().await;
    let status = async || send(get(&gateway.url("/"))).await.status;

    for _ in 0..2 {
        for _ in 0..3 {
            assert_eq!(status().await, 502);
        }
        is_out.store(false, Ordering::Relaxed);
        assert_eq!((status().await, status().await), (200, 200));
        is_out.store(true, Ordering::Relaxed);
    }
    gateway.prints("responds again").await;
    gateway.signal("TERM").await;

    let printed = gateway.ended().await.stderr;
    assert_eq!(printed.matches("failed to respond").count(), 2, "{printed}");
    let ends = "the upstream responds again route=\"openai\" failed_requests=3";
    assert_eq!(printed.matches(ends).count(), 2, "{printed}");
}

#[tokio::test]
async fn a_client_that_ends_its_body_early_is_no_outage_of_the_upstream() {
    let upstream = upstream_with(async |request| {
        let body = axum::body::to_bytes(request.into_body(), usize::MAX).await;
        Response::new(body.unwrap_or_default().into())
    })
    .await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.args(["--scope", "off"]).listen().await;
    let address = gateway.url.strip_prefix("http://").unwrap();
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\nquest";

    client.write_all(request).await.unwrap();
    client.shutdown().await.unwrap();

    let mut response = String::new();
    soon(client.read_to_string(&mut response)).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    gateway.signal("TERM").await;
    let printed = gateway.ended().await.stderr;
    assert!(!printed.contains("the upstream"), "{printed}");
}

#[tokio::test]
async fn a_placeholder_key_is_reported_once() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;

    for key in ["sk-own", "dummy", "sk-xxx", "dummy"] {
        let request = post(&gateway.url("/"));
        send(with(request, "authorization", &format!("Bearer {key}"))).await;
    }
    gateway.prints("placeholder").await;
    gateway.signal("TERM").await;

    let printed = gateway.ended().await.stderr;
    assert_eq!(printed.matches("placeholder").count(), 1, "{printed}");
    assert!(printed.contains("--byok never"), "{printed}");
}

#[tokio::test]
async fn a_placeholder_is_reported_wherever_the_provider_accepts_a_key() {
    let upstream = upstream().await;
    for (provider, target, name, value) in [
        ("anthropic", "/", "x-api-key", "dummy"),
        ("azure_openai", "/", "api-key", "your-api-key"),
        ("gemini", "/", "x-goog-api-key", "dummy"),
        ("gemini", "/?key=dummy", "accept", "*/*"),
        ("header:x-custom", "/", "x-custom", "sk-xxx"),
        (
            "openai",
            "/",
            "sec-websocket-protocol",
            "realtime, openai-insecure-api-key.dummy",
        ),
    ] {
        let gateway = gateway(provider, &upstream.url).keys([GOOD]).listen().await;
        send(with(post(&gateway.url(target)), name, value)).await;
        gateway.prints("placeholder").await;
    }
}

#[tokio::test]
async fn a_placeholder_that_disables_no_failover_is_not_reported() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;

    send(with(post(&gateway.url("/")), "authorization", "Bearer")).await;
    send(with(post(&gateway.url("/")), "x-api-key", "dummy")).await;
    let own = with(post(&gateway.url("/")), "authorization", "Bearer sk-own");
    send(with(own, "x-api-key", "dummy")).await;
    gateway.signal("TERM").await;

    assert!(!gateway.ended().await.stderr.contains("placeholder"));
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn requests_with_their_own_key_are_counted() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.admin().listen().await;

    send(post(&gateway.url("/"))).await;
    for _ in 0..2 {
        send(with(
            post(&gateway.url("/")),
            "authorization",
            "Bearer sk-own",
        ))
        .await;
    }

    let metrics = send(get(&gateway.admin_url("/metrics"))).await.text;
    assert!(
        metrics.contains("\ngateway_byok_requests_total 2\n"),
        "{metrics}"
    );
}
