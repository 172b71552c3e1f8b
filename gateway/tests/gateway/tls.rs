//! Upstreams with TLS.

use std::convert::Infallible;
use std::sync::Arc;

use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::CertifiedKey;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::support::{GOOD, Received, file, gateway, post, send};

/// An upstream that uses `protocol` and responds with the version of the request. Returns its URL and
/// its certificate.
async fn upstream(protocol: &str) -> (String, String) {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![protocol.into()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate closes the connection.
                let stream = acceptor.accept(stream).await?;
                let response = service_fn(async |request: Request<Incoming>| {
                    Ok::<_, Infallible>(Response::new(format!("{:?}", request.version())))
                });
                auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), response)
                    .await
            });
        }
    });
    (url, cert.pem())
}

/// The response of a gateway that trusts the certificate in `trusted`.
async fn ask(url: &str, trusted: &str) -> Received {
    let file = file(trusted);
    let gateway = gateway("openai", url).keys([GOOD]);
    let gateway = gateway
        .env("SSL_CERT_FILE", file.to_str().unwrap())
        .listen()
        .await;
    std::fs::remove_file(file).unwrap();
    send(post(&gateway.url("/"))).await
}

#[tokio::test]
async fn http_2_is_used_if_tls_negotiates_it() {
    let (url, certificate) = upstream("h2").await;
    assert_eq!(ask(&url, &certificate).await.text, "HTTP/2.0");
}

#[tokio::test]
async fn http_1_is_used_if_tls_negotiates_it() {
    let (url, certificate) = upstream("http/1.1").await;
    assert_eq!(ask(&url, &certificate).await.text, "HTTP/1.1");
}

#[tokio::test]
async fn an_upstream_with_an_untrusted_certificate_gets_no_key() {
    let (url, _) = upstream("h2").await;
    let (_, of_another) = upstream("h2").await;
    assert_eq!(ask(&url, &of_another).await.status, 502);
}
