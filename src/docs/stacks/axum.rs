use std::time::Duration;

use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::uri::{Authority, PathAndQuery, Scheme, Uri};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::client::legacy::{Client, Error, connect::Connect};
use hyper_util::rt::TokioExecutor;
use tower::ServiceBuilder;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tower_key_failover::{KeyFailoverLayer, ProviderPolicy};

/// A proxy for clients that send `authorization: <token>`. `connector` is for HTTP or HTTPS.
pub fn proxy<P, C>(
    failover: KeyFailoverLayer<P>,
    connector: C,
    provider: (Scheme, Authority),
    token: HeaderValue,
) -> Router
where
    P: ProviderPolicy + Send + Sync + 'static,
    C: Connect + Clone + Send + Sync + 'static,
{
    let to_provider = ServiceBuilder::new()
        // axum requires a response if the provider cannot be reached.
        .layer(HandleErrorLayer::new(|error: Error| async move {
            (StatusCode::BAD_GATEWAY, error.to_string())
        }))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::GATEWAY_TIMEOUT,
            Duration::from_secs(300),
        ))
        .layer(RequestBodyLimitLayer::new(32 << 20))
        .map_request(move |request| send_to(&provider, request))
        .layer(failover)
        .service(Client::builder(TokioExecutor::new()).build(connector));
    Router::new()
        .route("/health", get(|| async { "up" }))
        .fallback_service(to_provider)
        .layer(from_fn_with_state(token, check_token))
        .layer(TraceLayer::new_for_http())
}

/// Checks and removes the client's token. Otherwise it would count as the client's own key.
async fn check_token(
    State(token): State<HeaderValue>,
    mut request: Request,
    next: Next,
) -> Response {
    match request.headers_mut().remove(AUTHORIZATION) {
        Some(sent) if sent == token => next.run(request).await,
        _ => StatusCode::UNAUTHORIZED.into_response(),
    }
}

fn send_to<B>(
    (scheme, authority): &(Scheme, Authority),
    mut request: http::Request<B>,
) -> http::Request<B> {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(scheme.clone());
    parts.authority = Some(authority.clone());
    parts
        .path_and_query
        .get_or_insert(PathAndQuery::from_static("/"));
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    // The router's extensions are for handlers.
    request.extensions_mut().clear();
    request
}
