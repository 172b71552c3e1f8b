//! A request to switch protocols is one like any other until it is accepted.

use http::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tower_key_failover::pool::KeyState;

use crate::support::{Fed, Protocol, Raw, call, layer, pool, stack, within};

fn switch(listener: &TcpListener) -> Request<Fed> {
    let uri = format!("http://{}/v1/realtime", listener.local_addr().unwrap());
    Request::get(uri)
        .header("connection", "upgrade")
        .header("upgrade", "parrot")
        .body(Fed::full(""))
        .unwrap()
}

async fn accept(listener: &TcpListener) -> Raw {
    Raw::new(listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn refused_it_is_made_again_and_the_connection_is_the_callers() {
    within(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pool = pool(["k0", "k1"]);
        let service = stack(&layer(&pool), Protocol::Http1);
        let answered = call(&service, switch(&listener));

        let mut refusing = accept(&listener).await;
        let head = refusing.read_until("\r\n\r\n").await;
        let head = String::from_utf8_lossy(&head);
        assert!(head.contains("upgrade: parrot\r\n"), "{head}");
        assert!(head.contains("x-key: k0\r\n"), "{head}");
        refusing
            .write("HTTP/1.1 401 No\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            .await;

        let mut server = accept(&listener).await;
        let head = server.read_until("\r\n\r\n").await;
        let head = String::from_utf8_lossy(&head);
        assert!(head.contains("upgrade: parrot\r\n"), "{head}");
        assert!(head.contains("x-key: k1\r\n"), "{head}");
        server
            .write("HTTP/1.1 101 Yes\r\nconnection: upgrade\r\nupgrade: parrot\r\n\r\nhello")
            .await;

        let mut answer = answered.await.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(answer.headers()["upgrade"], "parrot");
        let upgraded = hyper::upgrade::on(&mut answer).await.unwrap();
        let mut upgraded = TokioIo::new(upgraded);
        let mut hello = [0; 5];
        upgraded.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"hello");
        upgraded.write_all(b"and back").await.unwrap();
        server.read_until("and back").await;
        drop(upgraded);
        assert!(server.close().await.is_empty());
        assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);
    })
    .await;
}

#[tokio::test]
async fn the_connection_outlives_answer_and_service() {
    within(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = stack(&layer(&pool(["k0", "k1"])), Protocol::Http1);
        let answered = call(&service, switch(&listener));
        drop(service);
        let mut server = accept(&listener).await;
        server.read_until("\r\n\r\n").await;
        server
            .write("HTTP/1.1 101 Yes\r\nconnection: upgrade\r\nupgrade: parrot\r\n\r\n")
            .await;

        let upgraded = hyper::upgrade::on(answered.await.unwrap().unwrap());
        let mut upgraded = TokioIo::new(upgraded.await.unwrap());

        upgraded.write_all(b"hello").await.unwrap();
        server.read_until("hello").await;
    })
    .await;
}
