//! WebSocket connections.
//!
//! A handshake is a request that passes through the layer like any other. If its key is refused, the
//! layer sends it again with the next key. After a 101, the gateway copies bytes in both directions
//! until one side closes.
//!
//! hyper puts an [`OnUpgrade`] into the extensions of the client's request and of the upstream's
//! response. The gateway removes the client's before the layer copies the request head, and awaits it
//! only after a 101: clones share one connection, and awaiting a second clone panics.
//!
//! Only `websocket` is forwarded. Other protocols such as `h2c` would carry further requests past the
//! layer. WebSocket requires HTTP/1.1 on both sides; the handshake of HTTP/2 is not offered.
//!
//! Browsers let any page open a WebSocket to any host. If a browser can reach the gateway, set a
//! client token.

use std::pin::pin;
use std::time::Duration;

use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Method, request};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::connections::Place;
use crate::headers::lists;

/// Removes the client's side from a WebSocket handshake, and returns it.
pub fn take_client(head: &mut request::Parts) -> Option<OnUpgrade> {
    // Present only with HTTP/1.1.
    let client = head.extensions.remove::<OnUpgrade>()?;
    let is_handshake = head.method == Method::GET
        && lists(&head.headers, header::CONNECTION, "upgrade")
        && lists(&head.headers, header::UPGRADE, "websocket");
    is_handshake.then_some(client)
}

/// Adds the headers of a WebSocket handshake, which were removed as headers of the connection.
pub fn add_upgrade_headers(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

/// The open WebSocket connections. The server no longer tracks them, so shutdown waits for them
/// separately.
#[derive(Default)]
pub struct Tunnels {
    open: watch::Sender<()>,
}

impl Tunnels {
    /// Connects two connections in a task that ends with them. Until then, the client's keeps its place.
    pub fn join(&self, client: OnUpgrade, upstream: OnUpgrade, place: Option<Place>) {
        let open = self.open.subscribe();
        tokio::spawn(async move {
            // If one is closed already, dropping the other closes it.
            if let Ok((client, upstream)) = tokio::try_join!(client, upstream) {
                copy_both_ways(TokioIo::new(client), TokioIo::new(upstream)).await;
            }
            drop((open, place));
        });
    }

    /// Waits until all connections are closed. This may take as long as their clients like.
    pub async fn finished(&self) {
        self.open.closed().await;
    }
}

/// How long one side may stay open after the other has closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Copies in both directions. When one side closes, the other can still send data (usually a close
/// frame) until [`CLOSE_TIMEOUT`].
async fn copy_both_ways(
    client: impl AsyncRead + AsyncWrite,
    upstream: impl AsyncRead + AsyncWrite,
) {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_upstream, mut to_upstream) = tokio::io::split(upstream);
    // An error also means that a side is closed.
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
        () = &mut up => timeout(CLOSE_TIMEOUT, down).await,
        () = &mut down => timeout(CLOSE_TIMEOUT, up).await,
    };
}
