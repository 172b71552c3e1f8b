//! The admin listener, for operators. It shows hints of keys, never keys.
//!
//! - `guard.rs` controls access, and `guesses.rs` slows down wrong tokens;
//! - `state.rs` contains the state that the handlers share;
//! - `page.rs` serves the status page;
//! - `keys.rs` shows keys, disables and reinstates them;
//! - `health.rs` implements the health check;
//! - `metrics.rs` exports metrics for Prometheus.

mod guard;
mod guesses;
mod health;
mod keys;
mod metrics;
mod page;
mod state;

use std::sync::Arc;

use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router, middleware};

pub use self::guesses::Guesses;
use self::metrics::Metrics;
pub use self::state::Admin;
use self::state::failed;

/// Must be called within the runtime.
pub fn router(admin: Admin) -> Router {
    let admin = Arc::new(admin);
    let gateway = Arc::clone(&admin.gateway);
    let metrics = Arc::new(Metrics::start(Arc::clone(&gateway), admin.replicas.clone()));
    Router::new()
        .merge(page::router())
        .route("/about", get(health::about))
        .route("/healthz", get(health::healthz))
        .route("/keys", get(keys::list))
        .route("/keys/{name}/disable", post(keys::disable))
        .route("/keys/{name}/reinstate", post(keys::reinstate))
        .route(
            "/failovers",
            get(async move || Json(gateway.failovers.to_json())),
        )
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
