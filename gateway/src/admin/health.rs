//! The health check, and the configuration that the status page shows.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde_json::{Value, json};
use tower_key_failover::pool::{KeySnapshot, KeyState, PoolSnapshot};

use super::state::{Parameters, Shared};

/// Responds with 503 if every key is permanently marked, and with 200 otherwise. `?pool=` asks about
/// the keys of one pool.
///
/// Use it for alerts. Removing the gateway from a load balancer helps only if another gateway has
/// other keys: permanently marked keys are probed by requests, so without requests they never return.
pub async fn healthz(
    State(admin): State<Shared>,
    Query(query): Query<Parameters>,
) -> (StatusCode, Json<Value>) {
    let pools = admin.pools(&query).into_iter().map(|pool| pool.snapshot());
    let pools: Vec<PoolSnapshot> = pools.collect();
    // Without a pool, clients bring their own keys.
    let all = Counts::of(pools.iter().flat_map(|pool| &pool.keys));
    let (status, mut shown) = all.show();
    let of_pools = pools.iter().map(|pool| {
        let (_, counts) = Counts::of(&pool.keys).show();
        ((*pool.name).to_owned(), counts)
    });
    shown["pools"] = of_pools.collect();
    // An outage of the server is no reason to restart the gateway.
    if let Some(replicas) = &admin.replicas {
        shown["replicas"] = replicas.show();
    }
    (status, Json(shown))
}

/// The numbers of keys in each state.
#[derive(Default)]
struct Counts {
    valid: usize,
    /// Valid keys that are suspected.
    suspected: usize,
    temporary: usize,
    permanent: usize,
}

impl Counts {
    fn of<'a>(keys: impl IntoIterator<Item = &'a KeySnapshot>) -> Self {
        let mut counts = Self::default();
        for key in keys {
            match key.state {
                KeyState::Valid => {
                    counts.valid += 1;
                    counts.suspected += usize::from(key.suspicions > 0);
                }
                KeyState::Temporary { .. } => counts.temporary += 1,
                _ => counts.permanent += 1,
            }
        }
        counts
    }

    fn show(&self) -> (StatusCode, Value) {
        let (status, summary) = match (self.valid, self.temporary, self.permanent) {
            (0, 0, 1..) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "every key is permanently marked",
            ),
            (0, 1.., _) => (
                StatusCode::OK,
                "every key is cooling down or permanently marked",
            ),
            // Requests still use suspected keys.
            (1.., _, _) if self.suspected == self.valid => (StatusCode::OK, "no key is trusted"),
            _ => (StatusCode::OK, "ok"),
        };
        let counts = json!({
            "status": summary,
            "valid": self.valid,
            "suspected": self.suspected,
            "temporary": self.temporary,
            "permanent": self.permanent,
        });
        (status, counts)
    }
}

pub async fn about(State(admin): State<Shared>) -> Json<Value> {
    let routes = admin.gateway.routes().by_name();
    let has_keys = routes.iter().any(|route| route.pool.is_some());
    let routes = routes.iter().map(|route| {
        json!({
            "name": route.name,
            "match": route.matcher.to_string(),
            "provider": route.provider(),
            "upstream": route.upstream.to_string(),
        })
    });
    Json(json!({
        "routes": routes.collect::<Vec<_>>(),
        "replicas": admin.replicas.as_ref().map(|replicas| replicas.show()),
        "version": env!("CARGO_PKG_VERSION"),
        "can_change": admin.token.is_some() && has_keys,
    }))
}
