//! What an operator sees. Never a key: its ends alone.

use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tower_key_failover::KeyPool;
use tower_key_failover::pool::{Key, KeyState};

pub fn router(pool: Option<Arc<KeyPool>>) -> Router {
    let keys = async move || {
        let keys = pool.iter().flat_map(|pool| pool.keys());
        Json(keys.map(|key| show(&key)).collect::<Value>())
    };
    Router::new().route("/keys", get(keys))
}

fn show(key: &Key) -> Value {
    let (state, retry_after) = match key.state() {
        KeyState::Valid => ("valid", None),
        KeyState::Temporary { retry_after } => ("temporary", Some(retry_after)),
        KeyState::Permanent => ("permanent", None),
    };
    json!({
        "label": key.label(),
        "hint": key.hint(),
        "state": state,
        "retry_after_ms": retry_after.map(|wait| wait.as_millis() as u64),
    })
}
