//! A WebSocket client whose handshake survives a refused key. Everything runs on loopback without
//! setup.
//!
//! The provider refuses one key and accepts another. The client sends its handshake through the layer
//! like any request, and the layer sends it again with the next key. After the 101, the layer is not
//! involved.
//!
//! ```text
//! cargo run --example websocket
//! ```
//!
//! `gateway/src/upgrade.rs` shows how a proxy forwards WebSocket connections.

use std::sync::Arc;

use axum::http::{Request, StatusCode};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::Empty;
use hyper::upgrade::Upgraded;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::handshake::server::ErrorResponse;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};
use tower::{Layer, ServiceExt};
use tower_key_failover::policy::Provider;
use tower_key_failover::{
    BoxError, FailoverInfo, KeyFailover, KeyFailoverLayer, KeyPool, KeyState, RequestBody,
};

const REVOKED: &str = "sk-demo-revoked-1111";
const GOOD: &str = "sk-demo-good-2222";

/// The HTTP client below the layer.
type Service = KeyFailover<Client<HttpConnector, RequestBody<Empty<Bytes>>>, Provider>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/v1/realtime", listener.local_addr()?);
    tokio::spawn(provide(listener));

    let pool = Arc::new(KeyPool::new([REVOKED, GOOD])?);
    // With TLS, use a client that offers only HTTP/1.1, because HTTP/2 has no upgrades.
    let client = Client::builder(TokioExecutor::new()).build_http();
    let service = KeyFailoverLayer::new(Provider::openai(), Arc::clone(&pool)).layer(client);

    println!("handshake");
    let mut socket = connect(service, &url).await?;
    println!("the pool: {:?}", pool.states());
    assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);

    for said in ["hello", "and good-bye"] {
        socket.send(Message::text(said)).await?;
        let reply = socket
            .next()
            .await
            .ok_or("the provider closed the connection")??;
        println!("sent {said:?}, received {reply}");
        assert_eq!(reply, Message::text(said.to_uppercase()));
    }
    socket.close(None).await?;
    while let Some(Ok(_)) = socket.next().await {}
    println!("closed");
    Ok(())
}

/// Opens a WebSocket.
async fn connect(
    service: Service,
    url: &str,
) -> Result<WebSocketStream<TokioIo<Upgraded>>, BoxError> {
    let challenge = generate_key();
    let handshake = Request::get(url)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", &challenge)
        .body(Empty::new())?;

    let mut response = service.oneshot(handshake).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(format!("refused: {}", response.status()).into());
    }
    let accepted = derive_accept_key(challenge.as_bytes());
    assert_eq!(response.headers()["sec-websocket-accept"], accepted);
    let failover = response.body().failover();
    let attempts = failover.map_or(1, FailoverInfo::attempts);
    println!("accepted in attempt {attempts}");
    assert_eq!(attempts, 2);

    // The response to the last attempt has the connection.
    let upgraded = TokioIo::new(hyper::upgrade::on(&mut response).await?);
    Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await)
}

/// The provider. It accepts one key and responds in capital letters.
async fn provide(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(converse(stream));
    }
}

async fn converse(stream: TcpStream) -> Result<(), Error> {
    #[allow(clippy::result_large_err)] // the shape that a callback has
    let judge = |request: &Request<()>, response| {
        let accepted = request.headers()["authorization"] == format!("Bearer {GOOD}");
        println!(
            "  the provider {}",
            if accepted { "accepts" } else { "refuses" }
        );
        match accepted {
            true => Ok(response),
            false => {
                let mut refusal = ErrorResponse::new(None);
                *refusal.status_mut() = StatusCode::UNAUTHORIZED;
                Err(refusal)
            }
        }
    };
    let mut socket = accept_hdr_async(stream, judge).await?;
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Text(text) = message {
            socket.send(Message::text(text.to_uppercase())).await?;
        }
    }
    Ok(())
}
