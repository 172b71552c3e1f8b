//! A hostile provider, over HTTP/1.1, or HTTP/2 with TLS.

use std::future::{Future, pending};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tower_key_failover::BoxError;

use crate::keys::{End, Keys, SoakKey, route_of};
use crate::ledger::{Ledger, UpstreamResponse};
use crate::payload::Payload;
use crate::random::Random;
use crate::responses::{Plan, Refusal, When, failure, refusal, success};
use crate::upload::{Upload, text};

/// The client token of the gateway, which no upstream may see.
pub const TOKEN: &str = "token-of-the-soaking-clients";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

#[derive(Debug)]
pub struct Upstream {
    pub name: &'static str,
    pub keys: Keys,
    seed: u64,
    ledger: Arc<Ledger>,
    /// Set when the upstream must respond with success, or refuse keys that are no longer valid.
    calm: AtomicBool,
    closed: watch::Sender<bool>,
}

/// The address of the upstream, and its certificate.
pub struct Address {
    pub url: String,
    pub certificate: Option<String>,
}

/// How a connection ends.
#[derive(Debug, Default)]
struct Ends {
    leave: Notify,
    kill: Notify,
}

/// The caller's own key for this request.
pub fn own_key(number: u64) -> String {
    format!("own-{number:016x}")
}

impl Upstream {
    pub fn new(name: &'static str, keys: Keys, seed: u64, ledger: Arc<Ledger>) -> Self {
        Self {
            name,
            keys,
            seed,
            ledger,
            calm: AtomicBool::new(false),
            closed: watch::Sender::new(false),
        }
    }

    pub async fn listen(self: &Arc<Self>, protocol: Protocol) -> Result<Address, BoxError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let authority = listener.local_addr()?;
        let (tls, address) = match protocol {
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

    pub fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    /// Closes every connection.
    pub fn close(&self) {
        self.closed.send_replace(true);
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

    /// An error aborts the request: by closing the connection in HTTP/1.1, by a reset in HTTP/2.
    async fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        ends: Arc<Ends>,
    ) -> Result<Response<Payload>, BoxError> {
        let (head, body) = request.into_parts();
        let number = self.number(&head.headers)?;
        if head.uri.path() != format!("/at-{}/v1/responses", route_of(number)) {
            let path = head.uri.path();
            let told = format!("request {number} came to {path}");
            self.ledger.violation(told);
        }
        let (plan, key, mut random) = self.plan(number, &head.headers);
        let in_flight = key.map(|key| key.in_flight.enter());
        let mut upload = Upload::new(number, &head.headers, body)?;
        let read = match plan.when() {
            When::AtOnce => 0,
            When::InTheMiddle => upload.length / 2,
            When::AtTheEnd => u64::MAX,
        };
        if upload.read(read).await? {
            upload.arrived(&self.ledger);
        } else if random.percent(50) {
            // Keep reading the upload, or abort it.
            tokio::spawn(upload.read_on(Arc::clone(&self.ledger)));
        }
        let noted = |response| self.ledger.responded(number, response);
        let response = match plan {
            Plan::Refuse(how, _) => {
                noted(match how {
                    Refusal::Scope
                    | Refusal::Model
                    | Refusal::Ended(End::Revoked | End::Forbidden) => UpstreamResponse::Refused,
                    _ => UpstreamResponse::Limited,
                });
                refusal(number, how, key, &mut random)
            }
            Plan::Fail(_) | Plan::FailWithoutEnd => {
                noted(UpstreamResponse::Other);
                failure(number, plan)
            }
            Plan::CutBefore => return Err("aborted".into()),
            Plan::Hang => pending().await,
            Plan::Kill => {
                ends.kill.notify_one();
                pending().await
            }
            Plan::Succeed | Plan::SucceedLate | Plan::Stutter | Plan::CutWithin | Plan::Leave => {
                match plan {
                    Plan::SucceedLate => tokio::time::sleep(random.millis(20..300)).await,
                    Plan::Leave => ends.leave.notify_one(),
                    _ => {}
                }
                noted(UpstreamResponse::Success);
                success(number, plan, &mut random)
            }
        };
        Ok(match in_flight {
            Some(request) => response.map(|body| request.until_end_of(body)),
            None => response,
        })
    }

    fn number(&self, headers: &HeaderMap) -> Result<u64, BoxError> {
        let number = text(headers, "x-soak-number").parse();
        Ok(number.inspect_err(|_| self.ledger.violation("a request without a number"))?)
    }

    /// Records the attempt, and decides how to respond.
    fn plan(&self, number: u64, headers: &HeaderMap) -> (Plan, Option<&SoakKey>, Random) {
        let shown = text(headers, AUTHORIZATION.as_str());
        let shown = shown.strip_prefix("Bearer ").unwrap_or(shown);
        let key = self.keys.find(shown);
        let is_foreign = |value: &str| value.contains(TOKEN) || value.contains("soak-h");
        let leaks = headers.iter().any(|(name, value)| {
            name != AUTHORIZATION && is_foreign(&String::from_utf8_lossy(value.as_bytes()))
        });
        if leaks || key.is_none() && shown != own_key(number) {
            let told = format!("request {number} came to {} with {headers:?}", self.name);
            self.ledger.violation(told);
        }
        if key.is_some_and(SoakKey::should_be_unused) {
            let told = format!("request {number} came with a key that is gone: {key:?}");
            self.ledger.violation(told);
        }
        if key.is_some_and(|key| key.route != route_of(number)) {
            let told = format!("request {number} came with a key of another route: {key:?}");
            self.ledger.violation(told);
        }
        self.ledger.attempt(number, shown);

        let which = shown
            .bytes()
            .fold(0, |sum, byte| sum * 31 % 1_000_003 + u64::from(byte));
        let mut random = Random::of([self.seed, number, which]);
        let drawn = Plan::draw(&mut random);
        let plan = match key.and_then(SoakKey::ended) {
            Some(end) => Plan::Refuse(Refusal::Ended(end), When::AtTheEnd),
            None if self.calm.load(Ordering::Relaxed) => Plan::Succeed,
            // Such a refusal lasts for ten minutes, and strategies spread them over all keys.
            None if matches!(drawn, Plan::Refuse(Refusal::Model, _))
                && key.is_some_and(SoakKey::is_sturdy) =>
            {
                Plan::Succeed
            }
            None => drawn,
        };
        (plan, key, random)
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

/// Waits with a limit.
pub async fn within<T>(seconds: u64, what: impl Future<Output = T>) -> Result<T, BoxError> {
    let timeout = tokio::time::timeout(std::time::Duration::from_secs(seconds), what).await;
    timeout.map_err(|_| format!("nothing happened for {seconds} s").into())
}
