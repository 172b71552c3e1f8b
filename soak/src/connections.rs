//! The connections of the upstream: HTTP/1.1, or HTTP/2 with TLS.

use std::io;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tower_key_failover::BoxError;

use crate::upstream::Upstream;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// The address of the upstream, and its certificate.
pub struct Address {
    pub url: String,
    pub certificate: Option<String>,
}

/// How a connection ends.
#[derive(Debug, Default)]
pub struct Ends {
    pub leave: Notify,
    pub kill: Notify,
}

impl Upstream {
    pub async fn listen(self: &Arc<Self>) -> Result<Address, BoxError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let authority = listener.local_addr()?;
        let (tls, address) = match self.protocol {
            Protocol::Http1 => {
                let url = format!("http://{authority}");
                let certificate = None;
                (None, Address { url, certificate })
            }
            Protocol::Http2 => {
                let (acceptor, certificate) = acceptor()?;
                let url = format!("https://{authority}");
                let certificate = Some(certificate);
                (Some(acceptor), Address { url, certificate })
            }
        };
        tokio::spawn(Arc::clone(self).accept(listener, tls));
        Ok(address)
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, tls: Option<TlsAcceptor>) {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let (upstream, tls) = (Arc::clone(&self), tls.clone());
            let mut closed = self.closed.subscribe();
            tokio::spawn(async move {
                let serving = async {
                    match tls {
                        None => upstream.serve(stream, Protocol::Http1).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                upstream.serve(stream, Protocol::Http2).await;
                            }
                        }
                    }
                };
                tokio::select! {
                    () = serving => {}
                    _ = closed.wait_for(|closed| *closed) => {}
                }
            });
        }
    }

    async fn serve<S>(self: Arc<Self>, stream: S, protocol: Protocol)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        /// hyper's connection types share no trait.
        macro_rules! run {
            ($connection:expr, $ends:expr) => {{
                let mut connection = std::pin::pin!($connection);
                tokio::select! {
                    biased;
                    () = $ends.kill.notified() => return,
                    () = $ends.leave.notified() => connection.as_mut().graceful_shutdown(),
                    _ = &mut connection => return,
                }
                tokio::select! {
                    () = $ends.kill.notified() => {}
                    _ = connection => {}
                }
            }};
        }

        let ends = Arc::new(Ends::default());
        let (upstream, theirs) = (self, Arc::clone(&ends));
        let service = service_fn(move |request| {
            let (upstream, ends) = (Arc::clone(&upstream), Arc::clone(&theirs));
            async move {
                let responded = upstream.respond(request, ends).await;
                responded.map_err(io::Error::other)
            }
        });
        let stream = TokioIo::new(stream);
        match protocol {
            Protocol::Http1 => {
                let server = hyper::server::conn::http1::Builder::new();
                run!(server.serve_connection(stream, service), ends);
            }
            Protocol::Http2 => {
                let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                server.initial_stream_window_size(64 * 1024);
                run!(server.serve_connection(stream, service), ends);
            }
        }
    }
}

fn acceptor() -> Result<(TlsAcceptor, String), BoxError> {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let key = PrivateKeyDer::try_from(signing_key.serialize_der())?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)?;
    config.alpn_protocols = vec!["h2".into()];
    Ok((TlsAcceptor::from(Arc::new(config)), cert.pem()))
}
