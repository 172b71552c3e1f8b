//! The layers of tower and tower-http on either side, and what their order changes.

use std::time::Duration;

use axum::Router;
use axum::error_handling::HandleErrorLayer;
use axum::extract::Request;
use http::{StatusCode, Uri};
use http_body_util::Full;
use tower::{BoxError, ServiceBuilder};
use tower_http::compression::CompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::map_response_body::MapResponseBodyLayer;
use tower_http::timeout::{ResponseBodyTimeoutLayer, TimeoutLayer};
use tower_http::trace::TraceLayer;

use crate::support::{Body, Upstream, client, failover, pool, serve, text, within};

mod bodies;
mod limits;
mod repeats;
mod timeouts;
mod trace;

#[tokio::test]
async fn all_middleware_together_fails_over_in_the_recommended_order() {
    let upstream = Upstream::start().await;
    let target: Uri = upstream.uri("/v1/messages").parse().unwrap();
    let (minute, second) = (Duration::from_secs(60), Duration::from_secs(20));
    let late = StatusCode::GATEWAY_TIMEOUT;
    let service = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(|_: BoxError| async {
            StatusCode::SERVICE_UNAVAILABLE
        }))
        .layer(TraceLayer::new_for_http())
        .layer(CompressionLayer::new())
        .layer(TimeoutLayer::with_status_code(late, minute))
        .load_shed()
        .concurrency_limit(8)
        .layer(RequestBodyLimitLayer::new(1024))
        .map_request(move |mut request: http::Request<_>| {
            *request.uri_mut() = target.clone();
            request
        })
        .layer(failover(&pool(["limited", "revoked", "good"])))
        .layer(MapResponseBodyLayer::new(axum::body::Body::new))
        .layer(TraceLayer::new_for_http())
        .layer(TimeoutLayer::with_status_code(late, second))
        .layer(MapResponseBodyLayer::new(axum::body::Body::new))
        .layer(ResponseBodyTimeoutLayer::new(second))
        .buffer(8)
        .concurrency_limit(1)
        .service(client());
    let app = Router::new().fallback_service(service);
    let (gateway, _task) = serve(app).await;

    let request = Request::post(format!("http://{gateway}/"));
    let request = request.body(Full::from("a question")).unwrap();
    let response = within(client::<Body>().request(request)).await.unwrap();

    assert_eq!(response.status(), 200);
    assert_eq!(text(response).await, "a question");
    assert_eq!(upstream.seen.keys(), ["limited", "revoked", "good"]);
}
