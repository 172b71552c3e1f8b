//! The state that the handlers share, and their error response.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;
use serde_json::json;
use tower_key_failover::KeyPool;

use super::guesses::Guesses;
use crate::gateway::Gateway;
use crate::replicas::Replicas;

/// The state that the handlers share.
pub struct Admin {
    pub gateway: Arc<Gateway>,
    /// The other replicas, with `--redis`.
    pub replicas: Option<Arc<Replicas>>,
    /// Without a token, changes are disabled.
    pub token: Option<SecretString>,
    pub guesses: Guesses,
    /// Whether the admin address is on loopback.
    pub on_loopback: bool,
}

impl Admin {
    /// The pools, or the one that the query names.
    pub fn pools(&self, query: &Parameters) -> Vec<Arc<KeyPool>> {
        let mut pools = self.gateway.routes().pools();
        pools.retain(|pool| query.get("pool").is_none_or(|name| name == pool.name()));
        pools
    }
}

/// The parameters of a query.
pub type Parameters = HashMap<String, String>;

pub type Shared = Arc<Admin>;

pub fn failed(status: StatusCode, why: impl Into<String>) -> Response {
    let why: String = why.into();
    (status, Json(json!({ "error": why }))).into_response()
}
