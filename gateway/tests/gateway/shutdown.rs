//! Graceful shutdown.

#![cfg(unix)]

use axum::body::{Body, Bytes};
use axum::http::Response;
use http_body_util::Channel;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::{
    GOOD, Upstream, client, gateway, next_data, post, send, soon, upstream, upstream_with,
};

type Sender = http_body_util::channel::Sender<Bytes, std::io::Error>;

async fn slow_upstream() -> (Upstream, mpsc::Receiver<Sender>) {
    let (senders, receiver) = mpsc::channel(1);
    let upstream = upstream_with(move |_| {
        let senders = senders.clone();
        async move {
            let (sender, body) = Channel::new(8);
            senders.send(sender).await.unwrap();
            Response::new(Body::new(body))
        }
    });
    (upstream.await, receiver)
}

#[tokio::test]
async fn a_signal_lets_a_response_finish() {
    let (upstream, mut responses) = slow_upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;
    let response = soon(client().request(post(&gateway.url("/"))))
        .await
        .unwrap();
    let mut sender = responses.recv().await.unwrap();
    let mut body = response.into_body();
    sender.send_data("one ".into()).await.unwrap();
    assert_eq!(next_data(&mut body).await.as_deref(), Some("one "));

    gateway.signal("TERM").await;
    let address = gateway.url.strip_prefix("http://").unwrap();
    soon(async { while TcpStream::connect(address).await.is_ok() {} }).await;
    sender.send_data("two".into()).await.unwrap();
    assert_eq!(next_data(&mut body).await.as_deref(), Some("two"));
    drop(sender);

    assert_eq!(next_data(&mut body).await, None);
    assert_eq!(gateway.ended().await.status.code(), Some(0));
}

#[tokio::test]
async fn a_signal_closes_idle_connections_while_a_response_of_another_connection_continues() {
    let (upstream, mut responses) = slow_upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;
    // The gateway deals connections in turn, so the two are on different workers if there are several.
    let response = soon(client().request(post(&gateway.url("/"))))
        .await
        .unwrap();
    let mut sender = responses.recv().await.unwrap();
    let address = gateway.url.strip_prefix("http://").unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();
    let request = format!("POST / HTTP/1.1\r\nhost: {address}\r\ncontent-length: 0\r\n\r\n");
    idle.write_all(request.as_bytes()).await.unwrap();
    drop(soon(responses.recv()).await.unwrap());
    let mut received = Vec::new();
    while !received.ends_with(b"0\r\n\r\n") {
        soon(idle.read_buf(&mut received)).await.unwrap();
    }

    gateway.signal("TERM").await;

    assert_eq!(soon(idle.read_buf(&mut received)).await.unwrap(), 0);
    sender.send_data("rest".into()).await.unwrap();
    drop(sender);
    let mut body = response.into_body();
    assert_eq!(next_data(&mut body).await.as_deref(), Some("rest"));
    assert_eq!(gateway.ended().await.status.code(), Some(0));
}

#[tokio::test]
async fn an_idle_gateway_stops_at_once() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;
    send(post(&gateway.url("/"))).await;

    gateway.signal("INT").await;

    assert_eq!(gateway.ended().await.status.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let (upstream, mut responses) = slow_upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;
    let response = soon(client().request(post(&gateway.url("/"))))
        .await
        .unwrap();
    let _unfinished = responses.recv().await.unwrap();

    gateway.signal("TERM").await;
    let address = gateway.url.strip_prefix("http://").unwrap();
    soon(async { while TcpStream::connect(address).await.is_ok() {} }).await;
    gateway.signal("TERM").await;

    assert_eq!(gateway.ended().await.status.code(), Some(0));
    drop(response);
}
