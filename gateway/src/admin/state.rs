//! The state that the handlers share, and their error response.

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use serde_json::json;
use tower_key_failover::KeyPool;

use super::guesses::Guesses;
use crate::byok::ByokRequests;
use crate::failovers::Failovers;

/// The state that the handlers share.
pub struct Admin {
    /// `None` for a provider whose clients always bring their own key.
    pub pool: Option<Arc<KeyPool>>,
    pub failovers: Arc<Failovers>,
    pub byok: Arc<ByokRequests>,
    /// Without a token, changes are disabled.
    pub token: Option<SecretString>,
    pub guesses: Guesses,
    /// Whether the admin address is on loopback.
    pub on_loopback: bool,
    pub provider: &'static str,
    pub upstream: String,
}

pub type Shared = Arc<Admin>;

pub fn failed(status: StatusCode, why: impl Into<String>) -> Response {
    let why: String = why.into();
    (status, Json(json!({ "error": why }))).into_response()
}
