//! The connections to an upstream that speaks HTTP/1.1.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{GOOD, gateway, get, send};

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";

/// Responds to this number of requests on each connection, and then closes it without notice. Returns the URL,
/// and the number of connections so far.
async fn upstream(requests: usize) -> (String, Arc<AtomicUsize>) {
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
                    stream.write_all(RESPONSE).await.unwrap();
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

#[tokio::test]
async fn requests_one_after_the_other_share_a_connection() {
    let (url, opened) = upstream(usize::MAX).await;
    let gateway = gateway("openai", &url).keys([GOOD]).listen().await;
    // The connections of a client are served by one thread.
    let client = crate::support::client();

    for _ in 0..10 {
        let response = client.request(get(&gateway.url("/"))).await.unwrap();
        assert_eq!(response.status(), 200);
        http_body_util::BodyExt::collect(response.into_body())
            .await
            .unwrap();
    }

    assert_eq!(opened.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn connections_that_the_upstream_closes_between_requests_fail_no_request() {
    let (url, opened) = upstream(1).await;
    let gateway = gateway("openai", &url).keys([GOOD]).listen().await;

    for _ in 0..20 {
        assert_eq!(send(get(&gateway.url("/"))).await.status, 200);
    }

    assert_eq!(opened.load(Ordering::SeqCst), 20);
}
