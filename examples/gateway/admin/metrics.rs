//! Counts for Prometheus. A stub.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use tower_key_failover::KeyPool;

use super::failed;

#[derive(Clone)]
pub struct Metrics;

impl Metrics {
    pub fn start(_pool: Option<Arc<KeyPool>>) -> Self {
        Self
    }

    pub fn show(&self) -> Response {
        let why = "this build has no metrics: build it with --features metrics";
        failed(StatusCode::NOT_FOUND, why)
    }
}
