//! The health check, and the configuration that the status page shows.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tower_key_failover::pool::{KeySnapshot, KeyState};

use super::state::Shared;

/// Responds with 503 if every key is permanently marked, and with 200 otherwise.
///
/// Use it for alerts. Removing the gateway from a load balancer helps only if another gateway has
/// other keys: permanently marked keys are probed by requests, so without requests they never return.
pub async fn healthz(State(admin): State<Shared>) -> (StatusCode, Json<Value>) {
    // Without a pool, clients bring their own keys.
    let keys = admin.pool.as_ref().map(|pool| pool.snapshot().keys);
    let keys = keys.unwrap_or_default();
    let count = |is: fn(&KeySnapshot) -> bool| keys.iter().filter(|key| is(key)).count();
    let valid = count(|key| matches!(key.state, KeyState::Valid));
    let suspected = count(|key| matches!(key.state, KeyState::Valid) && key.suspicions > 0);
    let temporary = count(|key| matches!(key.state, KeyState::Temporary { .. }));
    let permanent = count(|key| matches!(key.state, KeyState::Permanent));
    let (status, summary) = match (valid, temporary, permanent) {
        (0, 0, 1..) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "every key is permanently marked",
        ),
        (0, 1.., _) => (
            StatusCode::OK,
            "every key is cooling down or permanently marked",
        ),
        // Requests still use suspected keys.
        (1.., _, _) if suspected == valid => (StatusCode::OK, "no key is trusted"),
        _ => (StatusCode::OK, "ok"),
    };
    let counts = json!({
        "status": summary,
        "valid": valid,
        "suspected": suspected,
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
