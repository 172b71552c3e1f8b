//! Shows keys, disables and reinstates them.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tower_key_failover::KeyPool;
use tower_key_failover::pool::{
    ChangeError, KeyId, KeySnapshot, KeyState, KeyUsage, Marked, PoolSnapshot, ScopeSnapshot,
};

use super::state::{Parameters, Shared, failed};

pub async fn list(State(admin): State<Shared>, Query(query): Query<Parameters>) -> Json<Value> {
    let snapshots = admin.pools(&query).into_iter().map(|pool| pool.snapshot());
    let keys = snapshots.flat_map(|pool| {
        let keys = (0..pool.keys.len()).map(|at| show(&pool, at));
        keys.collect::<Vec<_>>()
    });
    Json(keys.collect())
}

pub async fn disable(
    State(admin): State<Shared>,
    Path(name): Path<String>,
    Query(query): Query<Parameters>,
) -> Response {
    change(&admin, &name, &query, |pool, key| {
        Ok(pool.disable(key)? != Marked::Unchanged)
    })
}

pub async fn reinstate(
    State(admin): State<Shared>,
    Path(name): Path<String>,
    Query(query): Query<Parameters>,
) -> Response {
    change(&admin, &name, &query, |pool, key| pool.reinstate(key))
}

/// Changes the key with this name, and shows the result.
///
/// If there are several pools, `?pool=` names one of them.
///
/// With `?hint=`, the key must have this hint. This protects against a list that changed in the
/// meantime, so that the position belongs to another key.
fn change(
    admin: &Shared,
    name: &str,
    query: &Parameters,
    what: impl FnOnce(&KeyPool, KeyId<'_>) -> Result<bool, ChangeError>,
) -> Response {
    let unknown = || failed(StatusCode::NOT_FOUND, "no key has this label or position");
    let pools = admin.pools(query);
    let pool = match pools.as_slice() {
        [] => return unknown(),
        [pool] => pool,
        _ => {
            let why = "there are several pools: add ?pool= with the name of a route";
            return failed(StatusCode::CONFLICT, why);
        }
    };
    let before = pool.snapshot();
    let Some(at) = find(&before, name) else {
        return unknown();
    };
    let has_hint = |hint: &String| **hint == *before.keys[at].hint;
    if !query.get("hint").is_none_or(has_hint) {
        let why = "the list of keys has changed: another key has this name now";
        return failed(StatusCode::CONFLICT, why);
    }
    match what(pool, id(&before, at)) {
        Ok(changed) => {
            let after = pool.snapshot();
            let key = find(&after, name).map(|at| show(&after, at));
            Json(json!({ "changed": changed, "key": key })).into_response()
        }
        // The key was removed in the meantime.
        Err(_) => unknown(),
    }
}

/// Finds a key by its label, or by its position. Labels are never numbers.
fn find(pool: &PoolSnapshot, name: &str) -> Option<usize> {
    let positions = 0..pool.keys.len();
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    let labeled = positions.clone().find(|at| label(pool, *at) == Some(name));
    let position = || name.parse().ok().filter(|at| positions.contains(at));
    labeled.or_else(|| position().filter(|_| is_number))
}

/// Prefers a label to the position, because the list may change.
fn id(pool: &PoolSnapshot, at: usize) -> KeyId<'_> {
    label(pool, at).map_or(KeyId::Position(at), KeyId::Label)
}

fn label(pool: &PoolSnapshot, at: usize) -> Option<&str> {
    pool.keys[at].label.as_deref()
}

/// The name of the key in URL paths. `.` and `..` have another meaning there.
fn name(pool: &PoolSnapshot, at: usize) -> String {
    match id(pool, at) {
        KeyId::Label(label) if ![".", ".."].contains(&label) => label.to_owned(),
        _ => at.to_string(),
    }
}

fn show(pool: &PoolSnapshot, at: usize) -> Value {
    let key: &KeySnapshot = &pool.keys[at];
    let (state, retry_after) = of_state(key.state);
    json!({
        "pool": *pool.name,
        "position": at,
        "name": name(pool, at),
        "label": key.label.as_deref(),
        "hint": key.hint,
        "group": key.group.as_deref(),
        "state": state,
        "retry_after_ms": retry_after.map(millis),
        "suspicions": key.suspicions,
        "last_reason": key.reason.map(|reason| reason.as_str()),
        "in_flight": key.in_flight,
        "scopes": key.scopes.iter().map(scope).collect::<Vec<_>>(),
        "usage": key.usage.as_ref().map(usage),
    })
}

/// The state of a key in one scope, such as a model.
fn scope(scope: &ScopeSnapshot) -> Value {
    let (state, retry_after) = of_state(scope.state);
    json!({
        "scope": scope.scope.as_str(),
        "state": state,
        "retry_after_ms": retry_after.map(millis),
        "last_reason": scope.reason.map(|reason| reason.as_str()),
    })
}

fn of_state(state: KeyState) -> (&'static str, Option<Duration>) {
    match state {
        KeyState::Valid => ("valid", None),
        KeyState::Temporary { retry_after } => ("temporary", Some(retry_after)),
        _ => ("permanent", None),
    }
}

fn usage(usage: &KeyUsage) -> Value {
    let picked = usage.picked.iter();
    let picked: Value = picked
        .map(|(by, times)| (by.as_str().to_owned(), json!(times)))
        .collect();
    let refused = usage.refused.iter();
    let refused: Value = refused
        .map(|(reason, times)| (reason.as_str().to_owned(), json!(times)))
        .collect();
    json!({
        "picked": picked,
        "served": usage.served,
        "refused": refused,
        "last_used_ms_ago": usage.last_used.map(millis),
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
