//! hyper-util's client with several keys, on HTTP/1.1 and HTTP/2.
//!
//! The provider refuses the upload halfway, and the layer continues it with the next key. The program
//! sends the second half after the provider has responded to the good key.
//!
//! ```sh
//! cargo run --example hyper_client
//! ```
//!
//! The provider listens on loopback.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt};
use tower_key_failover::policy::Provider;
use tower_key_failover::{BoxError, KeyFailoverLayer, KeyPool};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let provider = serve(Router::new().fallback(echo)).await?;
    for http2 in [false, true] {
        converse(provider, http2).await?;
    }
    Ok(())
}

async fn converse(provider: SocketAddr, http2: bool) -> Result<(), BoxError> {
    let pool = KeyPool::new(["sk-proj-first", "sk-proj-second"])?;
    // The client is generic over the body, and infers the layer's body type.
    let client = Client::builder(TokioExecutor::new())
        .http2_only(http2)
        .build_http();
    let service = ServiceBuilder::new()
        .layer(KeyFailoverLayer::new(Provider::openai(), pool))
        .service(client);

    let (mut upload, body) = Channel::<Bytes>::new(1);
    upload.send_data(Bytes::from("the first half")).await?;
    let request = Request::post(format!("http://{provider}/v1/responses")).body(body)?;
    let response = service.oneshot(request).await?;

    assert_eq!(response.status(), StatusCode::OK);
    let info = response
        .body()
        .failover()
        .ok_or("no failover information")?;
    println!(
        "{:?}: attempt {} succeeded, with key {}",
        response.version(),
        info.attempts(),
        info.hint().unwrap_or_default(),
    );
    assert_eq!(info.attempts(), 2);

    upload.send_data(Bytes::from(", and the second")).await?;
    drop(upload);
    let echo = response.into_body().collect().await?.to_bytes();
    assert_eq!(echo, "the first half, and the second");
    println!("the provider received {echo:?}");
    Ok(())
}

/// Refuses the first key without reading the body, and echoes the body with the second.
async fn echo(request: Request) -> Response {
    match request.headers()["authorization"].to_str() {
        Ok("Bearer sk-proj-second") => Response::new(request.into_body()),
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}

async fn serve(router: Router) -> Result<SocketAddr, BoxError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}
