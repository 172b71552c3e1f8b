use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tower::ServiceBuilder;
use tower_key_failover::policy::Provider;
use tower_key_failover::{BuildError, KeyFailover, KeyFailoverLayer, KeyPool, RequestBody};

type Attempts = Client<HttpsConnector<HttpConnector>, RequestBody<Full<Bytes>>>;

/// Connects to `https://` URLs, with HTTP/1.1 or HTTP/2. It trusts Mozilla's root certificates.
pub fn connector() -> HttpsConnector<HttpConnector> {
    HttpsConnectorBuilder::new()
        .with_webpki_roots()
        .https_only()
        .enable_all_versions()
        .build()
}

/// A client with two keys, whose requests have complete bodies.
pub fn client(
    connector: HttpsConnector<HttpConnector>,
    keys: [String; 2],
) -> Result<KeyFailover<Attempts, Provider>, BuildError> {
    let [first, second] = keys;
    let pool = KeyPool::builder()
        .key(first)
        .key(second)
        .exponential_cooldown(Duration::from_secs(1)..=Duration::from_secs(60))
        .build()?;
    let service = ServiceBuilder::new()
        .layer(KeyFailoverLayer::new(Provider::openai(), pool))
        .service(Client::builder(TokioExecutor::new()).build(connector));
    Ok(service)
}
