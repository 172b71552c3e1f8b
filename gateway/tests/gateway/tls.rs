//! Upstreams with TLS.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::server::TlsStream;
use tower_key_failover::BoxError;

use crate::support::{GOOD, Received, client, file, gateway, post, send_with};

/// An upstream whose connections use these protocols, each for a single request, and then the last one. It responds with the
/// version and the host of the request. Returns its URL and its certificate.
async fn upstream(protocols: &'static [&str]) -> (String, String) {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for at in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let protocol = protocols.get(at).or(protocols.last()).unwrap();
            let mut config = config.clone();
            config.alpn_protocols = vec![(*protocol).into()];
            let acceptor = TlsAcceptor::from(Arc::new(config));
            // A client that does not trust the certificate closes the connection.
            tokio::spawn(async move { serve_one(acceptor.accept(stream).await.ok()?).await.ok() });
        }
    });
    (url, cert.pem())
}

async fn serve_one(stream: TlsStream<TcpStream>) -> Result<(), BoxError> {
    let is_asked = Arc::new(Notify::new());
    let asked = Arc::clone(&is_asked);
    let response = service_fn(move |request: Request<Incoming>| {
        asked.notify_one();
        let host = request
            .headers()
            .get(HOST)
            .map(|host| host.to_str().unwrap());
        let host = host.or(request.uri().authority().map(Authority::as_str));
        let text = format!("{:?} {}", request.version(), host.unwrap());
        std::future::ready(Ok::<_, Infallible>(Response::new(text)))
    });
    let protocol = auto::Builder::new(TokioExecutor::new());
    let mut serving = pin!(protocol.serve_connection(TokioIo::new(stream), response));
    tokio::select! {
        served = serving.as_mut() => return served,
        () = is_asked.notified() => serving.as_mut().graceful_shutdown(),
    }
    serving.await
}

/// The responses of a gateway that trusts the certificate in `trusted`.
async fn ask<const N: usize>(url: &str, trusted: &str) -> [Received; N] {
    let file = file(trusted);
    let gateway = gateway("openai", url).keys([GOOD]);
    let gateway = gateway
        .env("SSL_CERT_FILE", file.to_str().unwrap())
        .listen()
        .await;
    std::fs::remove_file(file).unwrap();
    let client = client();
    let mut responses = Vec::new();
    for _ in 0..N {
        responses.push(send_with(&client, post(&gateway.url("/"))).await);
    }
    responses.try_into().ok().unwrap()
}

#[tokio::test]
async fn http_2_is_used_if_tls_negotiates_it() {
    let (url, certificate) = upstream(&["h2"]).await;
    let [response] = ask(&url, &certificate).await;
    assert!(response.text.starts_with("HTTP/2.0 "));
}

#[tokio::test]
async fn http_1_is_used_if_tls_negotiates_it() {
    let (url, certificate) = upstream(&["http/1.1"]).await;
    let [response] = ask(&url, &certificate).await;
    assert!(response.text.starts_with("HTTP/1.1 "));
}

#[tokio::test]
async fn an_upstream_that_changes_its_protocol_still_gets_its_host() {
    let (url, certificate) = upstream(&["h2", "http/1.1", "h2", "http/1.1"]).await;
    let host = url.trim_start_matches("https://");

    let responses: [_; 4] = ask(&url, &certificate).await;

    let versions = ["HTTP/2.0", "HTTP/1.1", "HTTP/2.0", "HTTP/1.1"];
    assert_eq!(
        responses.map(|response| response.text),
        versions.map(|version| format!("{version} {host}"))
    );
}

#[tokio::test]
async fn an_upstream_with_an_untrusted_certificate_gets_no_key() {
    let (url, _) = upstream(&["h2"]).await;
    let (_, of_another) = upstream(&["h2"]).await;
    let [response] = ask(&url, &of_another).await;
    assert_eq!(response.status, 502);
}
