//! A request to switch protocols is one like any other until it is accepted.

use std::convert::Infallible;

use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use test_support::mock::{layer, pool};
use test_support::wire::{Fed, Protocol, Raw, call, stack, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tower::{Layer, service_fn};
use tower_key_failover::RequestBody;
use tower_key_failover::pool::KeyState;

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
async fn a_refused_upgrade_is_sent_again_and_the_caller_gets_the_connection() {
    within(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pool = pool(["k0", "k1"]);
        let service = stack(&layer(&pool), Protocol::Http1);
        let caller = call(&service, switch(&listener));

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

        let mut response = caller.await.unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()["upgrade"], "parrot");
        let upgraded = hyper::upgrade::on(&mut response).await.unwrap();
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
async fn an_upgraded_connection_outlives_response_and_service() {
    within(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = stack(&layer(&pool(["k0", "k1"])), Protocol::Http1);
        let response = call(&service, switch(&listener));
        drop(service);
        let mut server = accept(&listener).await;
        server.read_until("\r\n\r\n").await;
        server
            .write("HTTP/1.1 101 Yes\r\nconnection: upgrade\r\nupgrade: parrot\r\n\r\n")
            .await;

        let upgraded = hyper::upgrade::on(response.await.unwrap().unwrap());
        let mut upgraded = TokioIo::new(upgraded.await.unwrap());

        upgraded.write_all(b"hello").await.unwrap();
        server.read_until("hello").await;
    })
    .await;
}

/// A service that switches protocols with its own caller finds the connection in every attempt.
#[tokio::test]
async fn an_upgrade_can_be_accepted_in_a_later_attempt() {
    within(async {
        let inner = service_fn(async |mut request: Request<RequestBody<Incoming>>| {
            let upgrade = hyper::upgrade::on(&mut request);
            let response = Response::builder();
            let response = match request.headers()["x-key"] == "k0" {
                true => response.status(401),
                false => {
                    tokio::spawn(async {
                        let mut upgraded = TokioIo::new(upgrade.await.unwrap());
                        upgraded.write_all(b"hello").await.unwrap();
                    });
                    let switched = response.status(101).header("connection", "upgrade");
                    switched.header("upgrade", "parrot")
                }
            };
            Ok::<_, Infallible>(response.body(Empty::new()).unwrap())
        });
        let service = TowerToHyperService::new(layer(&pool(["k0", "k1"])).layer(inner));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = Raw::connect(listener.local_addr().unwrap()).await;
        let (stream, _) = listener.accept().await.unwrap();
        let connection = hyper::server::conn::http1::Builder::new();
        let connection = connection.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection.with_upgrades());

        client
            .write("GET / HTTP/1.1\r\nhost: here\r\nconnection: upgrade\r\nupgrade: parrot\r\n\r\n")
            .await;

        let head = client.read_until("\r\n\r\n").await;
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{head:?}");
        client.read_until("hello").await;
    })
    .await;
}
