//! The connections of clients, and how long they may be silent.

use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::support::{
    GOOD, Gateway, client, gateway, get, post, send, soon, until, upstream, upstream_with,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// What a silent client can send: nothing, a part of either protocol, or an empty HTTP/2 session.
const SILENT: [&[u8]; 7] = [
    b"",
    b"P",
    b"PR",
    b"PRI * HT",
    b"GET / HT",
    b"GET / HTTP/1.1\r\nhost: localhost\r\n",
    PREFACE,
];

async fn connect(gateway: &Gateway, bytes: &[u8]) -> TcpStream {
    let address = gateway.url.strip_prefix("http://").unwrap();
    let mut stream = soon(TcpStream::connect(address)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// Waits until the gateway closes the connection.
async fn closed(stream: &mut TcpStream) {
    // It may be reset.
    let _ = soon(stream.read_to_end(&mut Vec::new())).await;
}

#[tokio::test]
async fn silent_connections_end() {
    let gateway = gateway("openai", "http://127.0.0.1:9").keys([GOOD]);
    let gateway = gateway.args(["--idle-timeout", "200ms"]).listen().await;

    for bytes in SILENT {
        let mut stream = connect(&gateway, bytes).await;
        closed(&mut stream).await;
    }
}

#[tokio::test]
async fn a_connection_that_sends_its_head_byte_by_byte_ends() {
    let gateway = gateway("openai", "http://127.0.0.1:9").keys([GOOD]);
    let gateway = gateway.args(["--idle-timeout", "300ms"]).listen().await;
    for start in ["GET / HTTP/1.1\r\nx: ", "PRI * HTTP/2.0\r\n"] {
        let mut stream = connect(&gateway, start.as_bytes()).await;
        let trickle = async {
            while stream.write_all(b"a").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        soon(trickle).await;
    }
}

#[tokio::test]
async fn a_request_whose_model_does_not_arrive_gets_408() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.args(["--idle-timeout", "200ms"]).listen().await;
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let request = format!("{head}content-length: 100\r\n\r\n{{\"messages\":[");

    let mut stream = connect(&gateway, request.as_bytes()).await;
    let mut response = String::new();
    soon(stream.read_to_string(&mut response)).await.unwrap();

    assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test]
async fn a_slow_body_is_not_limited_after_its_model() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.args(["--idle-timeout", "200ms"]).listen().await;
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
    let request = format!("{head}content-length: 17\r\n\r\n{{\"model\":\"gpt-4\"");

    let mut stream = connect(&gateway, request.as_bytes()).await;
    // Twice the limit passes.
    for _ in 0..2 {
        closed(&mut connect(&gateway, b"").await).await;
    }
    stream.write_all(b"}").await.unwrap();
    let mut response = String::new();
    soon(stream.read_to_string(&mut response)).await.unwrap();

    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
}

#[tokio::test]
async fn idle_connections_between_requests_end() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.args(["--idle-timeout", "200ms"]).listen().await;
    let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

    let mut stream = connect(&gateway, request).await;
    let mut response = String::new();
    soon(stream.read_to_string(&mut response)).await.unwrap();

    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert!(response.ends_with("fine"), "{response}");
}

#[tokio::test]
async fn a_request_in_flight_keeps_its_connection() {
    let (started, mut starts) = mpsc::channel(1);
    let upstream = upstream_with(move |_| {
        let started = started.clone();
        async move {
            let (release, released) = tokio::sync::oneshot::channel::<()>();
            started.send(release).await.unwrap();
            let _ = released.await;
            Response::new(Body::from("late"))
        }
    })
    .await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.args(["--idle-timeout", "100ms"]).listen().await;
    let response = tokio::spawn(send(get(&gateway.url("/"))));
    let release = soon(starts.recv()).await.unwrap();

    // Two of the limits pass.
    for _ in 0..2 {
        closed(&mut connect(&gateway, b"").await).await;
    }
    release.send(()).unwrap();

    assert_eq!(soon(response).await.unwrap().text, "late");
}

#[tokio::test]
async fn a_hundred_silent_connections_do_not_keep_a_new_client_out() {
    let upstream = upstream().await;
    for limit in ["4096", "10", "1"] {
        let gateway = gateway("openai", &upstream.url).keys([GOOD]);
        let gateway = gateway.args(["--max-connections", limit]).listen().await;
        let mut silent = Vec::new();
        for number in 0..100 {
            silent.push(connect(&gateway, SILENT[number % SILENT.len()]).await);
        }

        let response = send(post(&gateway.url("/"))).await;

        assert_eq!(response.status, 200, "{limit}");
        if limit != "4096" {
            closed(&mut silent[0]).await;
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn silent_connections_that_use_up_the_file_descriptors_do_not_keep_a_new_client_out() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.args(["--idle-timeout", "1d"]).listen().await;
    gateway.limit_open_files(80).await;
    let address = gateway.url.strip_prefix("http://").unwrap();
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let start = Instant::now();

    until(async || send(post(&gateway.url("/"))).await.status == 200).await;

    let elapsed = Instant::now().saturating_duration_since(start);
    assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
}

#[tokio::test]
async fn a_connection_with_a_request_in_flight_is_not_replaced_by_a_new_one() {
    let (started, mut starts) = mpsc::channel(1);
    let upstream = upstream_with(move |_| {
        let started = started.clone();
        async move {
            let (release, released) = tokio::sync::oneshot::channel::<()>();
            started.send(release).await.unwrap();
            let _ = released.await;
            Response::new(Body::from("late"))
        }
    })
    .await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.args(["--max-connections", "1"]).listen().await;
    let first = tokio::spawn(send(get(&gateway.url("/first"))));
    let release_first = soon(starts.recv()).await.unwrap();
    let second = tokio::spawn(send(get(&gateway.url("/second"))));

    // The second waits in the queue of the listener.
    assert_eq!(upstream.seen().len(), 1);
    release_first.send(()).unwrap();
    assert_eq!(soon(first).await.unwrap().text, "late");
    soon(starts.recv()).await.unwrap().send(()).unwrap();

    assert_eq!(soon(second).await.unwrap().text, "late");
}

#[tokio::test]
async fn an_upstream_that_sends_no_response_head_in_time_gives_504() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    let gateway = gateway("anthropic", &upstream).keys([GOOD]).admin();
    let gateway = gateway.args(["--upstream-timeout", "200ms"]).listen().await;

    let response = send(post(&gateway.url("/v1/messages"))).await;

    assert_eq!(response.status, 504);
    assert_eq!(response.json()["error"]["type"], "api_error");
    assert_eq!(gateway.states().await, ["valid"]);
}

#[tokio::test]
async fn the_upstream_timeout_does_not_limit_the_body_of_a_response() {
    let (sender, body) = http_body_util::Channel::<bytes::Bytes, std::io::Error>::new(8);
    let body = std::sync::Mutex::new(Some(body));
    let body = std::sync::Arc::new(body);
    let upstream = upstream_with(move |_| {
        let body = body.lock().unwrap().take();
        async move { Response::new(body.map_or(Body::empty(), Body::new)) }
    })
    .await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.args(["--upstream-timeout", "100ms", "--idle-timeout", "200ms"]);
    let gateway = gateway.listen().await;
    let response = soon(client().request(post(&gateway.url("/"))))
        .await
        .unwrap();

    closed(&mut connect(&gateway, b"").await).await;
    let mut sender = sender;
    sender.send_data("late".into()).await.unwrap();
    drop(sender);

    let mut body = response.into_body();
    let data = crate::support::next_data(&mut body).await;
    assert_eq!(data.as_deref(), Some("late"));
}

/// The timer field of `/proc/net/tcp` for a connection to this port: 2 is a keep-alive timer.
#[cfg(target_os = "linux")]
fn has_keep_alive(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!(":{port:04X}");
    let mut rows = table
        .lines()
        .map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.any(|row| row[2].ends_with(&remote) && row[3] == "01" && row[5].starts_with("02:"))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn upstream_connections_use_tcp_keep_alive() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;
    let port = upstream.url.rsplit(':').next().unwrap().parse().unwrap();

    send(post(&gateway.url("/"))).await;

    crate::support::until(async || has_keep_alive(port)).await;
}
