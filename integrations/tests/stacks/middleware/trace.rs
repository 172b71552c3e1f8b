//! Trace above sees requests, trace beneath sees attempts.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Response;
use tower::{ServiceBuilder, ServiceExt};
use tower_http::trace::{OnResponse, TraceLayer};
use tower_key_failover::RequestBody;
use tracing::Span;

use crate::support::{Body, Upstream, assert_shareable, client, failover, pool, text, within};

/// The status of every response that passed a trace layer.
#[derive(Clone, Debug, Default)]
struct Statuses(Arc<Mutex<Vec<u16>>>);

impl<B> OnResponse<B> for Statuses {
    fn on_response(self, response: &Response<B>, _: Duration, _: &Span) {
        self.0.lock().unwrap().push(response.status().as_u16());
    }
}

#[tokio::test]
async fn trace_above_sees_one_request_and_trace_below_sees_each_attempt() {
    let upstream = Upstream::start().await;
    let (requests, attempts) = (Statuses::default(), Statuses::default());
    let service = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http().on_response(requests.clone()))
        .layer(failover(&pool(["limited", "revoked", "good"])))
        .layer(TraceLayer::new_for_http().on_response(attempts.clone()))
        .service(client::<RequestBody<Body>>());
    assert_shareable(&service);

    let response = within(service.oneshot(upstream.post("a question")))
        .await
        .unwrap();

    assert_eq!(text(response).await, "a question");
    assert_eq!(*requests.0.lock().unwrap(), [200]);
    assert_eq!(*attempts.0.lock().unwrap(), [429, 401, 200]);
}
