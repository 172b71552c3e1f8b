//! What an operator sees and does, on an address of its own. Never a key: its ends alone.
//!
//! - `guard.rs` keeps out the pages of other origins, and whoever has no token from changing anything;
//! - `page.rs` is a page for people, which shows what the rest says;
//! - `keys.rs` shows the keys, puts them out and returns them to service;
//! - `health.rs` says whether any key is left, and how the gateway is set up;
//! - `metrics.rs` counts for Prometheus, in a build with the feature `metrics`.

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

/// What the admin listener answers from.
pub struct Admin {
    /// `None` for a provider whose clients always bring their own key.
    pub pool: Option<Arc<KeyPool>>,
    pub failovers: Arc<Failovers>,
    /// Without it nothing can be changed.
    pub token: Option<SecretString>,
    /// Whether it listens where nobody but this machine connects.
    pub on_loopback: bool,
    pub provider: &'static str,
    pub upstream: String,
}

type Shared = Arc<Admin>;

/// Has to be made within the runtime.
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
        .route("/failovers", get(async move || Json(failovers.show())))
        .route("/metrics", get(async move || metrics.show()))
        .fallback(async || failed(StatusCode::NOT_FOUND, "there is nothing of this name"))
        .method_not_allowed_fallback(async || {
            failed(StatusCode::METHOD_NOT_ALLOWED, "this is not done that way")
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
