//! WebSocket: a handshake is a request like any other, until its answer is 101.
//!
//! It goes through the layer, so a handshake that is refused because of its key is made again with
//! the next one; with no key left the client gets the same answer as to any request. After a 101 the
//! connection is a protocol of its own, which nothing here looks into: bytes are copied both ways
//! until a side ends.
//!
//! Where the two connections are to be had is for hyper to say: it puts an [`OnUpgrade`] into the
//! extensions of the client's request, and one into those of the upstream's answer. The client's is
//! taken out before the layer copies the request's head, and awaited only after a 101: its clones
//! share one connection, and a second one that is awaited panics.
//!
//! Only `websocket` is passed on. Other protocols, `h2c` above all, would carry further requests past
//! the layer. It takes HTTP/1.1 on both sides: HTTP/2 has a handshake of its own, which is not
//! offered.
//!
//! Browsers let any page open a WebSocket to any host. Where one could reach the gateway, set a client
//! token.

use std::pin::pin;
use std::time::Duration;

use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, request};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

/// Takes the client's side out of a request that asks for WebSocket.
pub fn take_client(head: &mut request::Parts) -> Option<OnUpgrade> {
    // Not there unless the client speaks HTTP/1.1.
    let client = head.extensions.remove::<OnUpgrade>()?;
    let asked = head.method == Method::GET
        && lists(&head.headers, header::CONNECTION, "upgrade")
        && lists(&head.headers, header::UPGRADE, "websocket");
    asked.then_some(client)
}

fn lists(headers: &HeaderMap, name: HeaderName, item: &str) -> bool {
    items(headers, name).any(|listed| listed.eq_ignore_ascii_case(item))
}

fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Whether one of the subprotocols is the client's token, which is then taken out: a browser can
/// present it nowhere else, and OpenAI's SDK does so in this way.
pub fn take_token(headers: &mut HeaderMap, is_token: impl Fn(&[u8]) -> bool) -> bool {
    let presents = |item: &str| {
        let token = item.strip_prefix("openai-insecure-api-key.");
        token.is_some_and(|token| is_token(token.as_bytes()))
    };
    let protocols = header::SEC_WEBSOCKET_PROTOCOL;
    if !items(headers, protocols.clone()).any(presents) {
        return false;
    }
    let kept: Vec<_> = items(headers, protocols.clone())
        .filter(|item| !presents(item))
        .collect();
    match HeaderValue::from_str(&kept.join(", ")) {
        Ok(kept) if !kept.is_empty() => drop(headers.insert(protocols, kept)),
        _ => drop(headers.remove(protocols)),
    }
    true
}

/// Says to the next connection what the last one said: as headers of a connection, these two were
/// taken out.
pub fn announce(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// The connections that speak WebSocket. They are no longer the server's, which therefore does not
/// wait for them when it stops.
#[derive(Default)]
pub struct Tunnels {
    open: watch::Sender<()>,
}

impl Tunnels {
    /// Joins two connections, in a task that ends with them.
    pub fn join(&self, client: OnUpgrade, upstream: OnUpgrade) {
        let open = self.open.subscribe();
        tokio::spawn(async move {
            // Where one is gone already, letting go of the other ends it.
            if let Ok((client, upstream)) = tokio::try_join!(client, upstream) {
                carry(TokioIo::new(client), TokioIo::new(upstream)).await;
            }
            drop(open);
        });
    }

    /// Waits until all have ended. On a signal they are let finish, as running responses are, and may
    /// take as long as their clients like; a second signal cuts them off.
    pub async fn finished(&self) {
        self.open.closed().await;
    }
}

/// How long one side may take to end after the other.
const LINGER: Duration = Duration::from_secs(5);

/// Copies both ways. The end of one side is passed on to the other, which may still say something (a
/// close frame, as a rule) and is to end as well; both are let go of if it does not.
async fn carry(client: impl AsyncRead + AsyncWrite, upstream: impl AsyncRead + AsyncWrite) {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_upstream, mut to_upstream) = tokio::io::split(upstream);
    // An error is an end, too: that of a side which broke off.
    let up = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_upstream).await;
        let _ = to_upstream.shutdown().await;
    };
    let down = async {
        let _ = tokio::io::copy(&mut from_upstream, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    let (mut up, mut down) = (pin!(up), pin!(down));
    let _ = tokio::select! {
        () = &mut up => timeout(LINGER, down).await,
        () = &mut down => timeout(LINGER, up).await,
    };
}
