//! The admin listener, for operators. It shows hints of keys, never keys.
//!
//! - `guard.rs` controls access;
//! - `page.rs` serves the status page;
//! - `keys.rs` shows keys, disables and reinstates them;
//! - `health.rs` implements the health check;
//! - `metrics.rs` exports metrics for Prometheus.

mod guard;
mod health;
mod keys;
mod metrics;
mod page;

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use secrecy::SecretString;
use serde_json::json;
use tower_key_failover::KeyPool;

use self::metrics::Metrics;
use crate::failovers::Failovers;

/// The state that the handlers share.
pub struct Admin {
    /// `None` for a provider whose clients always bring their own key.
    pub pool: Option<Arc<KeyPool>>,
    pub failovers: Arc<Failovers>,
    /// Without a token, changes are disabled.
    pub token: Option<SecretString>,
    /// Whether the admin address is on loopback.
    pub on_loopback: bool,
    pub provider: &'static str,
    pub upstream: String,
}

type Shared = Arc<Admin>;

/// Must be called within the runtime.
pub fn router(admin: Admin) -> Router {
    let admin = Arc::new(admin);
    let failovers = Arc::clone(&admin.failovers);
    let metrics = Arc::new(Metrics::start(admin.pool.clone()));
    Router::new()
        .merge(page::router())
        .route("/about", get(health::about))
        .route("/healthz", get(health::healthz))
        .route("/keys", get(keys::list))
        .route("/keys/{name}/disable", post(keys::disable))
        .route("/keys/{name}/reinstate", post(keys::reinstate))
        .route("/failovers", get(async move || Json(failovers.to_json())))
        .route("/metrics", get(async move || metrics.show()))
        .fallback(async || failed(StatusCode::NOT_FOUND, "not found"))
        .method_not_allowed_fallback(async || {
            failed(StatusCode::METHOD_NOT_ALLOWED, "method not allowed")
        })
        .layer(middleware::from_fn_with_state(
            Arc::clone(&admin),
            guard::guard,
        ))
        .with_state(admin)
}

fn failed(status: StatusCode, why: impl Into<String>) -> Response {
    let why: String = why.into();
    (status, Json(json!({ "error": why }))).into_response()
}
