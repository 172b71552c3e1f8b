//! What a pool holds after requests for a million models.

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{ServiceBuilder, ServiceExt};
use tower_key_failover::model_scope::{self, ModelScopeLayer};
use tower_key_failover::policy::Provider;
use tower_key_failover::pool::{KeyPool, KeyState};
use tower_key_failover::{KeyFailoverLayer, RequestBody};

/// As many as take a few seconds.
const MODELS: u32 = if cfg!(debug_assertions) {
    100_000
} else {
    1_000_000
};

/// Every so many models are limited.
const LIMITED: u32 = 50;

type Body = RequestBody<model_scope::RequestBody<Full<Bytes>>>;

async fn respond(request: Request<Body>) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_limited = request.headers().contains_key("x-limited");
    let response = Response::builder().status(if is_limited { 429 } else { 200 });
    let response = response.header("retry-after", "100000");
    Ok(response.body(Full::default()).unwrap())
}

#[test]
fn requests_for_a_million_models_leave_no_more_behind_than_those_for_a_few() {
    let pool = KeyPool::builder().key("k0").key("k1").group("org");
    let pool = Arc::new(pool.build().unwrap());
    let service = ServiceBuilder::new()
        .layer(ModelScopeLayer::new())
        .layer(KeyFailoverLayer::new(Provider::openai(), Arc::clone(&pool)))
        .service_fn(respond);
    let send = async |numbers: Range<u32>| {
        for number in numbers {
            let mut request =
                Request::post("/v1/chat/completions").header("content-type", "application/json");
            if number % LIMITED == 0 {
                // Far enough apart to be no limit of the whole key.
                tokio::time::advance(Duration::from_secs(2)).await;
                request = request.header("x-limited", "");
            }
            let body = Full::from(format!(r#"{{"model":"model-{number}"}}"#));
            let response = service
                .clone()
                .oneshot(request.body(body).unwrap())
                .await
                .unwrap();
            assert_eq!(response.status() == 429, number % LIMITED == 0);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let few = MODELS / 10;
    runtime.block_on(send(0..few));
    let growth = measure(|| runtime.block_on(send(few..MODELS))).bytes_current;
    assert!(growth.abs() < 16 * 1024, "{growth} bytes");
    for key in pool.snapshot().keys {
        assert_eq!((key.state, key.scopes.len()), (KeyState::Valid, 64));
    }
}
