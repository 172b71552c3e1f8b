//! hyper: hyper-util's pooling client over HTTP/1.1, HTTP/2 and TLS, and single connections.

use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt};
use tower_key_failover::{RequestBody, ResponseBody};

use crate::recipes::connection::Connection;
use crate::support::{
    Body, HttpClient, Seen, Upstream, assert_shareable, client, failover, listen, pool, provider,
    text, within,
};

/// A client that speaks HTTP/2 without being asked.
fn http2_client<B>() -> HttpClient<B>
where
    B: http_body::Body + Send,
    B::Data: Send,
{
    Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http()
}

/// Sends one request by way of a refused key, and returns the version that the upstream saw.
async fn fail_over<S>(service: S, upstream: &Upstream) -> Version
where
    S: Service<
            Request<RequestBody<Body>>,
            Response = Response<Incoming>,
            Future: Send + 'static,
            Error: fmt::Debug,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    let service = failover(&pool(["limited", "good"])).layer(service);
    assert_shareable(&service);

    let response = within(service.oneshot(upstream.post("a question")))
        .await
        .unwrap();

    assert_eq!(response.status(), 200);
    assert_eq!(text(response).await, "a question");
    assert_eq!(upstream.seen.keys(), ["limited", "good"]);
    let [first, second] = &upstream.seen.heads()[..] else {
        panic!("two attempts");
    };
    assert_eq!(first.version, second.version);
    second.version
}

#[tokio::test]
async fn the_client_fails_over_on_http1() {
    let upstream = Upstream::start().await;
    assert_eq!(fail_over(client(), &upstream).await, Version::HTTP_11);
}

#[tokio::test]
async fn the_client_fails_over_on_http2() {
    let upstream = Upstream::start().await;
    assert_eq!(fail_over(http2_client(), &upstream).await, Version::HTTP_2);
}

/// Refused in the middle of an upload, which goes on under the next key.
async fn move_an_upload(client: HttpClient<RequestBody<Channel<Bytes>>>) {
    let upstream = Upstream::start().await;
    let service = failover(&pool(["limited", "revoked", "good"])).layer(client);

    let (mut upload, body) = Channel::<Bytes>::new(1);
    upload.send_data(Bytes::from("begun ")).await.unwrap();
    let request = Request::post(upstream.uri("/v1/messages"))
        .body(body)
        .unwrap();
    let response = within(service.oneshot(request)).await.unwrap();

    let mut download = response.into_body();
    let first = within(download.frame()).await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "begun ");
    upload.send_data(Bytes::from("and ended")).await.unwrap();
    drop(upload);
    assert_eq!(text(download).await, "and ended");
    assert_eq!(upstream.seen.keys(), ["limited", "revoked", "good"]);
}

#[tokio::test]
async fn an_upload_that_is_refused_midway_fails_over_on_http1() {
    move_an_upload(client()).await;
}

#[tokio::test]
async fn an_upload_that_is_refused_midway_fails_over_on_http2() {
    move_an_upload(http2_client()).await;
}

/// [`provider`] behind TLS, with a certificate of its own.
pub async fn start_tls() -> (Upstream, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));

    let listener = listen().await;
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    let service = TowerToHyperService::new(provider(&seen));
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, service) = (acceptor.clone(), service.clone());
            tokio::spawn(async move {
                let stream = TokioIo::new(acceptor.accept(stream).await.unwrap());
                let server = auto::Builder::new(TokioExecutor::new());
                // A client may well leave without a goodbye.
                drop(server.serve_connection(stream, service).await);
            });
        }
    });
    (Upstream::new("https", address, seen, task), certificate)
}

pub fn trusting(certificate: CertificateDer<'static>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn tls_client<B>(
    connector: HttpsConnector<HttpConnector>,
) -> Client<HttpsConnector<HttpConnector>, B>
where
    B: http_body::Body + Send,
    B::Data: Send,
{
    Client::builder(TokioExecutor::new()).build(connector)
}

#[tokio::test]
async fn the_client_fails_over_on_http1_behind_tls() {
    let (upstream, certificate) = start_tls().await;
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(trusting(certificate))
        .https_only()
        .enable_http1()
        .build();

    let version = fail_over(tls_client(connector), &upstream).await;

    assert_eq!(version, Version::HTTP_11);
}

#[tokio::test]
async fn the_client_fails_over_on_http2_negotiated_by_alpn() {
    let (upstream, certificate) = start_tls().await;
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(trusting(certificate))
        .https_only()
        .enable_http1()
        .enable_http2()
        .build();

    let version = fail_over(tls_client(connector), &upstream).await;

    assert_eq!(version, Version::HTTP_2);
}

async fn http1_connection<B>(
    address: SocketAddr,
) -> (
    Connection<http1::SendRequest<B>>,
    JoinHandle<hyper::Result<()>>,
)
where
    B: http_body::Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (sender, connection) = http1::handshake(stream).await.unwrap();
    (Connection(sender), tokio::spawn(connection))
}

#[tokio::test]
async fn a_single_http1_connection_ends_with_an_upload_that_is_refused_midway() {
    let upstream = Upstream::start().await;
    let (connection, task) = http1_connection(upstream.address).await;
    let service = ServiceBuilder::new()
        .layer(failover(&pool(["limited", "good"])))
        .buffer(1)
        .service(connection);

    let (mut upload, body) = Channel::<Bytes>::new(1);
    upload.send_data(Bytes::from("begun")).await.unwrap();
    let request = Request::post("/v1/messages")
        .header("host", "upstream.test")
        .body(body);
    let response: Result<Response<ResponseBody<Incoming>>, BoxError> =
        within(service.oneshot(request.unwrap())).await;

    // What was cut off cannot be taken for a whole message: the connection is spent.
    response.unwrap_err();
    drop(within(task).await.unwrap());
    assert_eq!(upstream.seen.keys(), ["limited"]);
}

#[tokio::test]
async fn a_single_http2_connection_outlives_an_upload_that_is_refused_midway() {
    let upstream = Upstream::start().await;
    let stream = TokioIo::new(TcpStream::connect(upstream.address).await.unwrap());
    let (sender, connection) = http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    let service = failover(&pool(["limited", "good"])).layer(Connection(sender));

    let (mut upload, body) = Channel::<Bytes>::new(1);
    upload.send_data(Bytes::from("begun")).await.unwrap();
    let request = Request::post(upstream.uri("/v1/messages"))
        .body(body)
        .unwrap();
    let response = within(service.oneshot(request)).await.unwrap();

    drop(upload);
    assert_eq!(text(response).await, "begun");
}
