//! The connections to an upstream that speaks HTTP/1.1.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{GOOD, client, gateway, get, next_data, send, send_with, soon};

const RESPONSE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";

/// More than the buffers of the sockets on the way can hold.
const LARGE: usize = 32 << 20;

/// Responds to this number of requests on each connection, and then closes it without notice. Returns the URL,
/// and the number of connections so far.
async fn upstream(response: &'static str, requests: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let opened = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&opened);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                for _ in 0..requests {
                    read_head(&mut stream).await;
                    stream.write_all(response.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (url, opened)
}

async fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
}

/// Sends a few requests one after the other. Returns how many connections the upstream got.
async fn connections_for(method: &str, response: &'static str) -> usize {
    let (url, opened) = upstream(response, usize::MAX).await;
    let gateway = gateway("openai", &url).keys([GOOD]).listen().await;
    // The connections of a client are served by one thread.
    let client = client();
    for _ in 0..10 {
        let request = Request::builder().method(method).uri(gateway.url("/"));
        send_with(&client, request.body(Body::empty()).unwrap()).await;
    }
    opened.load(Ordering::SeqCst)
}

#[tokio::test]
async fn requests_one_after_the_other_share_a_connection() {
    assert_eq!(connections_for("GET", RESPONSE).await, 1);
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_chunked_response() {
    let chunked =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfine\r\n4\r\nmore\r\n0\r\n\r\n";
    assert_eq!(connections_for("GET", chunked).await, 1);
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_response_without_a_body() {
    assert_eq!(
        connections_for("GET", "HTTP/1.1 204 No Content\r\n\r\n").await,
        1
    );
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n";
    assert_eq!(connections_for("HEAD", head).await, 1);
}

#[tokio::test]
async fn connections_that_the_upstream_closes_between_requests_fail_no_request() {
    let (url, opened) = upstream(RESPONSE, 1).await;
    let gateway = gateway("openai", &url).keys([GOOD]).listen().await;

    for _ in 0..20 {
        assert_eq!(send(get(&gateway.url("/"))).await.status, 200);
    }

    assert_eq!(opened.load(Ordering::SeqCst), 20);
}

#[tokio::test]
async fn a_client_that_reads_after_it_has_sent_all_gets_a_response_that_began_before() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let received = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        let (mut from_gateway, mut to_gateway) = stream.into_split();
        let writing = tokio::spawn(async move {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {LARGE}\r\n\r\n");
            to_gateway.write_all(head.as_bytes()).await.unwrap();
            to_gateway.write_all(&vec![b'r'; LARGE]).await.unwrap();
            to_gateway
        });
        let mut received = vec![0; LARGE];
        from_gateway.read_exact(&mut received).await.unwrap();
        writing.await.unwrap();
        received
    });
    let gateway = gateway("openai", &url).keys([GOOD]).listen().await;
    let address = gateway.url.trim_start_matches("http://");
    let mut client = TcpStream::connect(address).await.unwrap();

    let head = format!("POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: {LARGE}\r\n\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    // The response begins before the request ends.
    assert_eq!(soon(client.peek(&mut [0])).await.unwrap(), 1);
    soon(client.write_all(&vec![b'q'; LARGE])).await.unwrap();
    read_head(&mut client).await;
    let mut body = vec![0; LARGE];
    soon(client.read_exact(&mut body)).await.unwrap();

    assert!(body.iter().all(|byte| *byte == b'r'));
    assert!(
        soon(received)
            .await
            .unwrap()
            .iter()
            .all(|byte| *byte == b'q')
    );
}

#[tokio::test]
async fn a_request_whose_response_came_first_is_sent_completely() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let received = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        stream.write_all(RESPONSE.as_bytes()).await.unwrap();
        let mut body = [0; 4];
        stream.read_exact(&mut body).await.unwrap();
        body
    });
    let gateway = gateway("openai", &url).keys([GOOD]).listen().await;
    let address = gateway.url.trim_start_matches("http://");
    let mut client = TcpStream::connect(address).await.unwrap();

    let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    soon(read_head(&mut client)).await;
    client.write_all(b"late").await.unwrap();

    assert_eq!(&soon(received).await.unwrap(), b"late");
}

#[tokio::test]
async fn the_connection_of_a_response_that_the_client_gives_up_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let closed = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await;
        let start = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nstart";
        stream.write_all(start.as_bytes()).await.unwrap();
        stream.read(&mut [0]).await
    });
    let gateway = gateway("openai", &url).keys([GOOD]).listen().await;
    let response = soon(client().request(get(&gateway.url("/"))))
        .await
        .unwrap();
    let mut body = response.into_body();
    assert_eq!(next_data(&mut body).await.unwrap(), "start");

    drop(body);

    // An end or a reset.
    assert!(matches!(soon(closed).await.unwrap(), Ok(0) | Err(_)));
}
