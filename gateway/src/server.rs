//! Serves HTTP/1.1 and HTTP/2 (with prior knowledge).

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::UPGRADE;
use axum::http::{Request, Response};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tower::{Service, ServiceExt};
use tower_key_failover::BoxError;

use crate::connections::{Close, Connection, Connections, TrackedBody};

/// Accepts connections until `stop` completes.
pub async fn accept_until(
    stop: impl Future<Output = ()>,
    listener: TcpListener,
    connections: Connections,
    mut accepted: impl FnMut(TcpStream, Connection),
) {
    let mut stop = pin!(stop);
    loop {
        let next = async {
            let stream = accept(&listener, &connections).await;
            let connection = connections.open().await;
            (stream, connection)
        };
        let (stream, connection) = tokio::select! {
            next = next => next,
            () = &mut stop => return,
        };
        // Send the small events of a stream without delay.
        let _ = stream.set_nodelay(true);
        accepted(stream, connection);
    }
}

/// Why to close a connection.
enum Signal {
    Idle(Close),
    /// It has not closed in time.
    Late,
    ShutDown,
}

/// Serves connections on the runtime that it is called on.
pub struct Server<S> {
    protocol: Builder<TokioExecutor>,
    service: S,
    closing: watch::Sender<()>,
}

impl<S, B> Server<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    pub fn new(service: S) -> Self {
        let mut protocol = Builder::new(TokioExecutor::new());
        // The limit for connections without a request includes the time for a request head.
        protocol.http1().header_read_timeout(None);
        protocol.http2().timer(TokioTimer::new());
        Self {
            protocol,
            service,
            closing: watch::Sender::default(),
        }
    }

    /// Serves a connection in a task, which drops `guard` when it ends.
    pub fn serve(&self, stream: TcpStream, connection: Connection, guard: impl Send + 'static) {
        let connection = Arc::new(connection);
        let (tracked, service) = (Arc::clone(&connection), self.service.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let in_flight = tracked.begin_request();
            if request.headers().contains_key(UPGRADE) {
                // A connection that switches protocols still counts.
                request.extensions_mut().insert(tracked.place());
            }
            let response = service.clone().oneshot(request);
            async move {
                let response = response.await?;
                Ok::<_, Infallible>(response.map(|body| TrackedBody::new(body, in_flight)))
            }
        });
        let serving = self
            .protocol
            .serve_connection_with_upgrades(TokioIo::new(stream), service);
        let serving = serving.into_owned();
        let mut closing = self.closing.subscribe();
        tokio::spawn(async move {
            let mut serving = pin!(serving);
            // Polls only those that were woken, not all with each read and write.
            let mut signals = FuturesUnordered::<BoxFuture<'_, Signal>>::new();
            signals.push(connection.idle().map(Signal::Idle).boxed());
            signals.push(closing.changed().map(|_| Signal::ShutDown).boxed());
            loop {
                let signal = tokio::select! {
                    biased;
                    // Errors are caused by the client, which sees them.
                    _ = serving.as_mut() => break,
                    Some(signal) = signals.next() => signal,
                };
                match signal {
                    Signal::Idle(Close::Gracefully) => {
                        let late = connection.idle_for(connection.close_timeout());
                        signals.push(late.map(|()| Signal::Late).boxed());
                    }
                    Signal::Idle(Close::AtOnce) | Signal::Late => break,
                    Signal::ShutDown => {}
                }
                // A request may have arrived in the meantime.
                serving.as_mut().graceful_shutdown();
            }
            drop(guard);
        });
    }

    /// Waits for the requests in flight, but not for connections that have switched protocols.
    pub async fn finish(self) {
        self.closing.send_replace(());
        self.closing.closed().await;
    }
}

async fn accept(listener: &TcpListener, connections: &Connections) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(_) => {
                // For example, no file descriptor is left. Silent connections wait in front of this one.
                connections.close_longest_idle();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}
