//! Whether any key is left, and how the gateway is set up.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tower_key_failover::pool::KeyState;

use super::Shared;

/// 503 when every key is out for good, 200 otherwise: a key that is out for a while returns by itself.
///
/// It is a reason to wake someone. To take the gateway out of traffic for it is of use where another
/// one has other keys: a key that is out for good is tried again by requests, and by nothing else.
pub async fn healthz(State(admin): State<Shared>) -> (StatusCode, Json<Value>) {
    let states = admin.pool.as_ref().map(|pool| pool.states());
    let count =
        |is: fn(&KeyState) -> bool| states.iter().flatten().filter(|state| is(state)).count();
    let valid = count(|state| matches!(state, KeyState::Valid));
    let temporary = count(|state| matches!(state, KeyState::Temporary { .. }));
    let permanent = count(|state| matches!(state, KeyState::Permanent));
    // Where clients bring their keys, none is missing.
    let (status, word) = match (valid, temporary, permanent) {
        (0, 0, 1..) => (StatusCode::SERVICE_UNAVAILABLE, "every key is out for good"),
        (0, 1.., _) => (StatusCode::OK, "every key is out"),
        _ => (StatusCode::OK, "ok"),
    };
    let counts = json!({
        "status": word,
        "valid": valid,
        "temporary": temporary,
        "permanent": permanent,
    });
    (status, Json(counts))
}

pub async fn about(State(admin): State<Shared>) -> Json<Value> {
    Json(json!({
        "provider": admin.provider,
        "upstream": admin.upstream,
        "version": env!("CARGO_PKG_VERSION"),
        "can_change": admin.token.is_some() && admin.pool.is_some(),
    }))
}
