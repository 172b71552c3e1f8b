use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, Error, connect::HttpConnector};
use tower::{Service, ServiceBuilder};
use tower_http::body::Limited;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::map_response_body::MapResponseBodyLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tower_key_failover::policy::Provider;
use tower_key_failover::{BoxError, KeyFailoverLayer, RequestBody};

/// The caller's body as `RequestBodyLimitLayer` passes it on, in an attempt.
type Upload<B> = RequestBody<Limited<B>>;

pub fn stack<B>(
    failover: KeyFailoverLayer<Provider>,
    client: Client<HttpConnector, Upload<B>>,
) -> impl Service<
    Request<B>,
    Response = Response<impl Body<Data = Bytes, Error: Into<BoxError>> + Send>,
    Error = Error,
    Future: Send,
> + Clone
+ Send
+ Sync
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Sync + Unpin + 'static,
{
    let (minutes, seconds) = (Duration::from_secs(300), Duration::from_secs(30));
    let timeout = StatusCode::GATEWAY_TIMEOUT;
    ServiceBuilder::new()
        .layer(TraceLayer::new_for_http()) // one span per request
        // Authenticate clients here, and remove their tokens.
        .layer(TimeoutLayer::with_status_code(timeout, minutes)) // all attempts together
        .layer(RequestBodyLimitLayer::new(8 << 20))
        // Retry transport errors here.
        .layer(failover)
        .layer(TraceLayer::new_for_http()) // one span per attempt
        .layer(TimeoutLayer::with_status_code(timeout, seconds)) // each attempt
        // The timeout below needs a response body that is `Default`.
        .layer(MapResponseBodyLayer::new(|body: Incoming| body.boxed()))
        .concurrency_limit(100)
        // Sign requests here.
        .service(client)
}
