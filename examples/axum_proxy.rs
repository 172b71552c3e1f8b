//! A reverse proxy with axum. Clients send the proxy's token, and the provider receives a key of the
//! pool.
//!
//! The example shows the order of layers. Token check, tracing, overall timeout and body limit are
//! above the failover layer. Layers that concern a single attempt are below it.
//!
//! ```sh
//! cargo run --example axum_proxy
//! ```
//!
//! Provider and proxy listen on loopback. The program sends a request as the client, and exits.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::error_handling::HandleErrorLayer;
use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{BoxError, Router};
use http_body_util::BodyExt;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tower_key_failover::policy::Provider;
use tower_key_failover::pool::KeyState;
use tower_key_failover::{KeyFailoverLayer, KeyPool};

fn gateway(provider: SocketAddr, pool: Arc<KeyPool>) -> Router {
    let to_provider = ServiceBuilder::new()
        // Above the failover layer: once per request.
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            Duration::from_secs(60),
        ))
        .layer(RequestBodyLimitLayer::new(8 << 20))
        .layer(KeyFailoverLayer::new(Provider::anthropic(), pool))
        // Below the failover layer: once per attempt.
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            Duration::from_secs(20),
        ))
        .map_request(move |request| sent_to(provider, request))
        // axum requires a response if the provider cannot be reached.
        .layer(HandleErrorLayer::new(|error: legacy::Error| async move {
            (StatusCode::BAD_GATEWAY, error.to_string())
        }))
        .service(Client::builder(TokioExecutor::new()).build_http());
    Router::new()
        .route("/health", get(|| async { "up" }))
        .fallback_service(to_provider)
        .layer(from_fn(check_token))
        .layer(TraceLayer::new_for_http())
}

/// Checks and removes the token of the proxy, so that the provider does not see it.
async fn check_token(mut request: Request, next: Next) -> Response {
    match request.headers_mut().remove(AUTHORIZATION) {
        Some(token) if token == "Bearer gateway-token" => next.run(request).await,
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}

fn sent_to<B>(provider: SocketAddr, mut request: http::Request<B>) -> http::Request<B> {
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    if let Ok(uri) = format!("http://{provider}{path}").parse() {
        *request.uri_mut() = uri;
    }
    request
}

/// A provider that rate-limits the first key and does not know the second.
async fn messages(headers: HeaderMap, question: String) -> Response {
    assert!(
        !headers.contains_key(AUTHORIZATION),
        "the gateway's token got out"
    );
    match headers["x-api-key"].to_str() {
        Ok("sk-ant-first") => {
            (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "30")]).into_response()
        }
        Ok("sk-ant-third") => format!("reply to: {question}").into_response(),
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let pool = Arc::new(KeyPool::new([
        "sk-ant-first",
        "sk-ant-second",
        "sk-ant-third",
    ])?);
    let provider = serve(Router::new().route("/v1/messages", post(messages))).await?;
    let gateway = serve(gateway(provider, Arc::clone(&pool))).await?;

    let client = Client::builder(TokioExecutor::new()).build_http::<String>();
    let ask = |token: &str| {
        let request = Request::post(format!("http://{gateway}/v1/messages"))
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .body("a question".to_owned());
        let client = client.clone();
        async move { Ok::<_, BoxError>(client.request(request?).await?) }
    };

    let turned_away = ask("somebody-else").await?;
    assert_eq!(turned_away.status(), StatusCode::UNAUTHORIZED);

    let response = ask("gateway-token").await?;
    assert_eq!(response.status(), StatusCode::OK);
    let reply = response.into_body().collect().await?.to_bytes();
    assert_eq!(reply, "reply to: a question");
    println!("the client received {reply:?}");

    let states = pool.states();
    assert!(matches!(
        states[..],
        [
            KeyState::Temporary { .. },
            KeyState::Permanent,
            KeyState::Valid
        ]
    ));
    println!("the states of the keys: {states:?}");
    Ok(())
}

async fn serve(router: Router) -> Result<SocketAddr, BoxError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}
