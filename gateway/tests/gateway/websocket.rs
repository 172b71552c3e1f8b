//! WebSocket connections through the gateway.

use std::future::Future;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response};
use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use rcgen::CertifiedKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::ErrorResponse;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, accept_hdr_async_with_config, connect_async_with_config,
};

use crate::support::{
    GOOD, Gateway, LIMITED, REVOKED, Seen, TOKEN, Upstream, file, gateway, get, send, soon,
    upstream_with,
};

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;
type Server<S = TcpStream> = WebSocketStream<S>;

/// A provider that accepts handshakes with good keys, and passes each socket to `serve`.
async fn sockets<F, A>(serve: F) -> Upstream
where
    F: Fn(Server) -> A + Clone + Send + 'static,
    A: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (notes, serve) = (Arc::clone(&notes), serve.clone());
            tokio::spawn(async move {
                if let Ok(socket) = accept(stream, notes).await {
                    serve(socket).await;
                }
            });
        }
    });
    Upstream { url, seen }
}

async fn accept<S>(stream: S, notes: Arc<Mutex<Vec<Seen>>>) -> Result<Server<S>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    #[allow(clippy::result_large_err)] // a callback's shape is not for the test to choose
    let judge = |request: &Request<()>, mut response: Response<()>| {
        let note = Seen {
            target: request.uri().to_string(),
            headers: request.headers().clone(),
        };
        let status = match note.key() {
            REVOKED => 401,
            LIMITED => 429,
            _ => 101,
        };
        if note.headers.contains_key("sec-websocket-protocol") {
            let chosen = "realtime".parse().unwrap();
            let headers = response.headers_mut();
            headers.insert("sec-websocket-protocol", chosen);
        }
        notes.lock().unwrap().push(note);
        if status == 101 {
            return Ok(response);
        }
        let refused = Response::builder()
            .status(status)
            .header("retry-after", "30");
        Err::<_, ErrorResponse>(refused.body(None).unwrap())
    };
    accept_hdr_async_with_config(stream, judge, Some(generous())).await
}

/// Allows frames as large as messages.
fn generous() -> WebSocketConfig {
    WebSocketConfig::default().max_frame_size(None)
}

/// Echoes messages until the other end closes.
async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut socket: Server<S>) {
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}

fn handshake(gateway: &Gateway) -> Request<()> {
    let url = gateway.url("/v1/realtime?model=one");
    let url = url.replacen("http", "ws", 1);
    url.into_client_request().unwrap()
}

fn with(mut request: Request<()>, name: &'static str, value: &str) -> Request<()> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

async fn try_connect(request: Request<()>) -> Result<(Client, HeaderMap), Error> {
    let connected = connect_async_with_config(request, Some(generous()), true);
    let (socket, response) = soon(connected).await?;
    Ok((socket, response.into_parts().0.headers))
}

async fn connect(gateway: &Gateway) -> Client {
    try_connect(handshake(gateway)).await.unwrap().0
}

/// The response to a handshake that must not be accepted.
async fn refusal(request: Request<()>) -> Response<Option<Vec<u8>>> {
    match try_connect(request).await {
        Err(Error::Http(response)) => *response,
        other => panic!("expected a refusal: {other:?}"),
    }
}

async fn next<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> Message {
    soon(socket.next()).await.unwrap().unwrap()
}

async fn assert_echoes(socket: &mut Client, message: Message) {
    soon(socket.send(message.clone())).await.unwrap();
    // `assert_eq` would print megabytes.
    assert!(next(socket).await == message);
}

fn closing(code: u16, reason: &str) -> CloseFrame {
    CloseFrame {
        code: code.into(),
        reason: reason.into(),
    }
}

#[tokio::test]
async fn text_and_binary_messages_pass_in_both_directions() {
    let upstream = sockets(echo).await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;

    let mut socket = connect(&gateway).await;

    assert_echoes(&mut socket, Message::text("grüße")).await;
    assert_echoes(&mut socket, Message::binary(vec![0, 159, 146, 150])).await;
    assert_echoes(&mut socket, Message::text("")).await;
    assert_eq!(upstream.keys(), [GOOD]);
    assert_eq!(upstream.seen()[0].target, "/v1/realtime?model=one");
    let host = upstream.url.strip_prefix("http://");
    assert_eq!(upstream.seen()[0].header("host"), host);
}

#[tokio::test]
async fn large_messages_arrive_complete() {
    let upstream = sockets(echo).await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;
    let large: Vec<u8> = (0..8_u32 << 20).map(|at| (at % 251) as u8).collect();

    let mut socket = connect(&gateway).await;

    assert_echoes(&mut socket, Message::binary(large)).await;
}

#[tokio::test]
async fn the_upstream_can_send_the_first_message() {
    let upstream = sockets(async |mut socket| {
        socket.send(Message::text("hello")).await.unwrap();
        echo(socket).await;
    });
    let upstream = upstream.await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;

    let mut socket = connect(&gateway).await;

    assert_eq!(next(&mut socket).await, Message::text("hello"));
}

#[tokio::test]
async fn pings_reach_the_other_end() {
    let upstream = sockets(async |mut socket| {
        socket.send(Message::Ping("down".into())).await.unwrap();
        let response = next(&mut socket).await;
        assert_eq!(response, Message::Pong("down".into()));
        socket.send(Message::text("seen")).await.unwrap();
        echo(socket).await;
    });
    let upstream = upstream.await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;

    let mut socket = connect(&gateway).await;

    // Reading a ping responds to it.
    assert_eq!(next(&mut socket).await, Message::Ping("down".into()));
    assert_eq!(next(&mut socket).await, Message::text("seen"));
    socket.send(Message::Ping("up".into())).await.unwrap();
    assert_eq!(next(&mut socket).await, Message::Pong("up".into()));
}

#[tokio::test]
async fn the_clients_close_code_reaches_the_upstream() {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let upstream = sockets(move |mut socket| {
        let sender = sender.clone();
        async move {
            sender.send(next(&mut socket).await).unwrap();
            // The other end closes after it has received the response.
            assert!(soon(socket.next()).await.is_none());
            sender.send(Message::text("ended")).unwrap();
        }
    });
    let upstream = upstream.await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;
    let mut socket = connect(&gateway).await;
    let close = closing(4001, "enough");

    socket.close(Some(close.clone())).await.unwrap();

    let seen = soon(receiver.recv()).await.unwrap();
    assert_eq!(seen, Message::Close(Some(close.clone())));
    assert_eq!(next(&mut socket).await, Message::Close(Some(close)));
    assert!(soon(socket.next()).await.is_none());
    let seen = soon(receiver.recv()).await.unwrap();
    assert_eq!(seen, Message::text("ended"));
}

#[tokio::test]
async fn the_upstreams_close_code_reaches_the_client() {
    let upstream = sockets(async |mut socket| {
        let close = closing(4002, "session over");
        socket.close(Some(close)).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    });
    let upstream = upstream.await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;
    let mut socket = connect(&gateway).await;

    let close = closing(4002, "session over");
    assert_eq!(next(&mut socket).await, Message::Close(Some(close)));
    assert!(soon(socket.next()).await.is_none());
}

#[tokio::test]
async fn a_broken_upstream_connection_closes_the_clients() {
    let upstream = sockets(async |mut socket| {
        socket.send(Message::text("last words")).await.unwrap();
    });
    let upstream = upstream.await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;
    let mut socket = connect(&gateway).await;

    assert_eq!(next(&mut socket).await, Message::text("last words"));
    let end = soon(socket.next()).await.unwrap();
    assert!(matches!(end, Err(Error::Protocol(_))), "{end:?}");
}

#[tokio::test]
async fn a_broken_client_connection_closes_the_upstreams() {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let upstream = sockets(move |mut socket| {
        let sender = sender.clone();
        async move {
            sender.send(soon(socket.next()).await.unwrap()).unwrap();
        }
    });
    let upstream = upstream.await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;

    drop(connect(&gateway).await);

    let end = soon(receiver.recv()).await.unwrap();
    assert!(matches!(end, Err(Error::Protocol(_))), "{end:?}");
}

#[tokio::test]
async fn a_refused_handshake_is_sent_again_with_the_next_key() {
    let upstream = sockets(echo).await;
    let gateway = gateway("openai", &upstream.url).keys([REVOKED, LIMITED, GOOD]);
    let gateway = gateway.args(["--admin", "127.0.0.1:0"]).listen().await;

    let mut socket = connect(&gateway).await;

    assert_echoes(&mut socket, Message::text("hello")).await;
    assert_eq!(upstream.keys(), [REVOKED, LIMITED, GOOD]);
    let challenges = upstream.seen();
    let challenge = challenges[0].header("sec-websocket-key");
    assert!(challenge.is_some());
    for seen in &challenges {
        assert_eq!(seen.header("connection"), Some("upgrade"));
        assert_eq!(seen.header("upgrade"), Some("websocket"));
        assert_eq!(seen.header("sec-websocket-key"), challenge);
    }
    let states = gateway.states().await;
    assert_eq!(states, ["permanent", "temporary", "valid"]);
}

#[tokio::test]
async fn a_handshake_with_all_keys_rate_limited_gets_429_with_retry_after() {
    let upstream = sockets(echo).await;
    let gateway = gateway("openai", &upstream.url);
    let gateway = gateway.keys([LIMITED]).listen().await;

    let first = refusal(handshake(&gateway)).await;
    let second = refusal(handshake(&gateway)).await;

    for response in [first, second] {
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], "30");
        assert!(!response.headers().contains_key("upgrade"));
    }
    // The second key is not tried.
    assert_eq!(upstream.keys(), [LIMITED]);
}

#[tokio::test]
async fn a_handshake_with_all_keys_revoked_gets_502() {
    let upstream = sockets(echo).await;
    let gateway = gateway("openai", &upstream.url).keys([REVOKED]);
    let gateway = gateway.listen().await;

    assert_eq!(refusal(handshake(&gateway)).await.status(), 502);
}

#[tokio::test]
async fn a_handshake_with_its_own_key_makes_one_attempt() {
    let upstream = sockets(echo).await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.args(["--admin", "127.0.0.1:0"]).listen().await;
    let own = format!("Bearer {REVOKED}");

    let response = refusal(with(handshake(&gateway), "authorization", &own)).await;
    let accepted = with(handshake(&gateway), "authorization", "Bearer sk-own");
    let (mut socket, _) = try_connect(accepted).await.unwrap();

    assert_eq!(response.status(), 401);
    assert_echoes(&mut socket, Message::text("hello")).await;
    assert_eq!(upstream.keys(), [REVOKED, "sk-own"]);
    assert_eq!(gateway.states().await, ["valid"]);
}

#[tokio::test]
async fn a_handshake_without_the_client_token_is_rejected() {
    let upstream = sockets(echo).await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).token();
    let gateway = gateway.args(["--byok", "never"]).listen().await;
    let wrong = "realtime, openai-insecure-api-key.wrong";

    let without = refusal(handshake(&gateway)).await;
    let wrong = with(handshake(&gateway), "sec-websocket-protocol", wrong);
    let with_wrong = refusal(wrong).await;

    assert_eq!(without.status(), 401);
    assert_eq!(with_wrong.status(), 401);
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_handshake_can_carry_the_client_token_in_a_header() {
    let upstream = sockets(echo).await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).token();
    let gateway = gateway.listen().await;
    let token = format!("Bearer {TOKEN}");

    let presented = with(handshake(&gateway), "authorization", &token);
    let (mut socket, _) = try_connect(presented).await.unwrap();

    assert_echoes(&mut socket, Message::text("hello")).await;
    assert_eq!(upstream.keys(), [GOOD]);
    assert!(!format!("{:?}", upstream.seen()).contains(TOKEN));
}

#[tokio::test]
async fn a_handshake_can_carry_the_client_token_as_a_subprotocol() {
    let upstream = sockets(echo).await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).token();
    let gateway = gateway.listen().await;
    let offered = format!("realtime, openai-insecure-api-key.{TOKEN}");

    // This also holds for requests with their own key, from which the layer removes nothing.
    for own in [None, Some("Bearer sk-own")] {
        let mut request = with(handshake(&gateway), "sec-websocket-protocol", &offered);
        if let Some(own) = own {
            request = with(request, "authorization", own);
        }
        let (mut socket, headers) = try_connect(request).await.unwrap();

        assert_echoes(&mut socket, Message::text("hello")).await;
        assert_eq!(headers["sec-websocket-protocol"], "realtime");
    }

    assert_eq!(upstream.keys(), [GOOD, "sk-own"]);
    for seen in upstream.seen() {
        assert_eq!(seen.header("sec-websocket-protocol"), Some("realtime"));
    }
}

#[tokio::test]
async fn a_handshake_can_carry_the_client_token_as_any_subprotocol() {
    let upstream = sockets(echo).await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).token();
    let gateway = gateway.listen().await;

    for offered in [
        format!("realtime,{TOKEN}"),
        format!("bearer.{TOKEN}, realtime"),
        format!("{TOKEN}, realtime, openai-insecure-api-key.{TOKEN}"),
    ] {
        let request = with(handshake(&gateway), "sec-websocket-protocol", &offered);
        let (_, headers) = try_connect(request).await.unwrap();
        assert_eq!(headers["sec-websocket-protocol"], "realtime");
    }

    for seen in upstream.seen() {
        assert_eq!(seen.header("sec-websocket-protocol"), Some("realtime"));
    }
}

#[tokio::test]
async fn a_clients_own_key_in_a_subprotocol_is_forwarded() {
    let upstream = sockets(echo).await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;
    let offered = "realtime, openai-insecure-api-key.sk-theirs";

    let request = with(handshake(&gateway), "sec-websocket-protocol", offered);
    let (mut socket, _) = try_connect(request).await.unwrap();

    assert_echoes(&mut socket, Message::text("hello")).await;
    assert_eq!(upstream.keys(), [""]);
    assert_eq!(
        upstream.seen()[0].header("sec-websocket-protocol"),
        Some(offered)
    );
}

#[tokio::test]
async fn with_byok_never_a_key_in_a_subprotocol_is_replaced() {
    let upstream = sockets(echo).await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.args(["--byok", "never"]).listen().await;
    let offered = "realtime, openai-insecure-api-key.sk-theirs";

    let request = with(handshake(&gateway), "sec-websocket-protocol", offered);
    let (mut socket, _) = try_connect(request).await.unwrap();

    assert_echoes(&mut socket, Message::text("hello")).await;
    assert_eq!(upstream.keys(), [GOOD]);
    assert!(!format!("{:?}", upstream.seen()).contains("sk-theirs"));
}

#[tokio::test]
async fn many_sockets_can_be_open_at_once() {
    let upstream = sockets(echo).await;
    let gateway = gateway("openai", &upstream.url);
    let gateway = gateway.keys([REVOKED, GOOD]).listen().await;

    let mut sockets = join_all((0..50).map(|_| connect(&gateway))).await;

    for _ in 0..3 {
        let talks = sockets.iter_mut().enumerate();
        let talks = talks.map(|(number, socket)| {
            let message = format!("{number} ").repeat(1000);
            assert_echoes(socket, Message::text(message))
        });
        join_all(talks).await;
    }
}

#[tokio::test]
async fn http_2_is_not_offered_for_websocket_over_tls() {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec!["h2".into(), "http/1.1".into()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let (agreed, mut agrees) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let stream = acceptor.accept(stream).await.unwrap();
            let protocol = stream.get_ref().1.alpn_protocol();
            agreed.send(protocol.map(<[u8]>::to_vec)).unwrap();
            let notes = Arc::default();
            tokio::spawn(async { echo(accept(stream, notes).await.unwrap()).await });
        }
    });
    let file = file(&cert.pem());
    let gateway = gateway("openai", &url).keys([GOOD]);
    let gateway = gateway.env("SSL_CERT_FILE", file.to_str().unwrap());
    let gateway = gateway.listen().await;

    let mut socket = connect(&gateway).await;

    assert_echoes(&mut socket, Message::text("hello")).await;
    // Without ALPN, the protocol is HTTP/1.1.
    assert_eq!(soon(agrees.recv()).await.unwrap(), None);
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn a_response_other_than_101_is_forwarded() {
    let upstream = upstream_with(async |_| {
        let response = Response::builder().status(426).header("upgrade", "other");
        response.body("too old".into()).unwrap()
    });
    let upstream = upstream.await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;

    let response = refusal(handshake(&gateway)).await;

    assert_eq!(response.status(), 426);
    assert!(!response.headers().contains_key("upgrade"));
}

#[tokio::test]
async fn upgrades_to_other_protocols_are_not_forwarded() {
    let upstream = upstream_with(async |_| Response::new("fine".into())).await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;

    for (method, protocol) in [("GET", "h2c"), ("POST", "websocket")] {
        let mut stream = TcpStream::connect(gateway.url.strip_prefix("http://").unwrap())
            .await
            .unwrap();
        let request = format!(
            "{method} / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade, close\r\n\
             upgrade: {protocol}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        soon(stream.read_to_string(&mut response)).await.unwrap();

        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    }
    for seen in upstream.seen() {
        assert_eq!(seen.header("connection"), None);
        assert_eq!(seen.header("upgrade"), None);
    }
}

#[tokio::test]
async fn an_unrequested_protocol_switch_gives_502() {
    let upstream = upstream_with(async |_| {
        let switched = Response::builder().status(101).header("upgrade", "other");
        switched.body(Body::empty()).unwrap()
    });
    let upstream = upstream.await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;

    let response = send(get(&gateway.url("/"))).await;

    assert_eq!(response.status, 502);
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_lets_open_sockets_finish() {
    let upstream = sockets(echo).await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;
    let mut socket = connect(&gateway).await;
    assert_echoes(&mut socket, Message::text("before")).await;

    gateway.signal("TERM").await;
    let address = gateway.url.strip_prefix("http://").unwrap();
    soon(async { while TcpStream::connect(address).await.is_ok() {} }).await;
    assert_echoes(&mut socket, Message::text("after")).await;
    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = soon(socket.next()).await {}
    drop(socket);

    assert_eq!(gateway.ended().await.status.code(), Some(0));
}

#[cfg(unix)]
#[tokio::test]
async fn a_client_that_stays_open_is_closed_after_the_upstream() {
    let upstream = sockets(async |_| {}).await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;
    let _open = connect(&gateway).await;

    gateway.signal("TERM").await;

    assert_eq!(gateway.ended().await.status.code(), Some(0));
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_lets_a_handshake_finish() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let gateway = gateway("openai", &url).keys([GOOD]).listen().await;
    let address = gateway.url.strip_prefix("http://").unwrap();
    // Written by hand: hyper adds `close` to `connection: upgrade` of this response, and the client of
    // the other tests accepts no list there.
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    let (stream, _) = soon(listener.accept()).await.unwrap();

    gateway.signal("TERM").await;
    soon(async { while TcpStream::connect(address).await.is_ok() {} }).await;
    tokio::spawn(async { echo(accept(stream, Arc::default()).await.unwrap()).await });

    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(soon(client.read_u8()).await.unwrap().into());
    }
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let client = MaybeTlsStream::Plain(client);
    let mut socket = Client::from_raw_socket(client, Role::Client, None).await;
    assert_echoes(&mut socket, Message::text("hello")).await;
    drop(socket);
    assert_eq!(gateway.ended().await.status.code(), Some(0));
}
