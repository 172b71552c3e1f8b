//! Logs the end of cooldowns.
//!
//! The library reports marks and other returns, but not the end of a cooldown, because no timer watches for
//! it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tower_key_failover::policy::Scope;
use tower_key_failover::pool::{KeySnapshot, KeyState};
use tracing::info;

use crate::gateway::Gateway;

/// Shorter cooldowns can end unnoticed.
const EVERY: Duration = Duration::from_millis(250);

/// A key, or one of its scopes.
#[derive(PartialEq, Eq, Hash)]
struct Limit {
    pool: Arc<str>,
    label: Option<Arc<str>>,
    hint: String,
    scope: Option<Scope>,
}

impl Limit {
    fn of(pool: &Arc<str>, key: &KeySnapshot, scope: Option<&Scope>) -> Self {
        Self {
            pool: Arc::clone(pool),
            label: key.label.clone(),
            hint: key.hint.to_string(),
            scope: scope.cloned(),
        }
    }
}

/// Runs forever.
pub async fn log(gateway: Arc<Gateway>) {
    let mut before: HashMap<Limit, Instant> = HashMap::new();
    loop {
        sleep(EVERY).await;
        let (mut cooling, mut present) = (HashMap::new(), Vec::new());
        let now = Instant::now();
        for pool in gateway.routes().pools() {
            let snapshot = pool.snapshot();
            let pool = Arc::from(pool.name());
            for key in &snapshot.keys {
                let of_scopes = key.scopes.iter().map(|it| (Some(&it.scope), it.state));
                for (scope, state) in of_scopes.chain([(None, key.state)]) {
                    if let KeyState::Temporary { retry_after } = state
                        && let Some(end) = now.checked_add(retry_after)
                    {
                        cooling.insert(Limit::of(&pool, key, scope), end);
                    }
                }
                if !before.is_empty() && !matches!(key.state, KeyState::Permanent) {
                    present.push(Limit::of(&pool, key, None));
                }
            }
        }
        // An operator can return a key before the end, which the library reports.
        let is_over = |limit: &Limit, end: Instant| end <= now && !cooling.contains_key(limit);
        for (limit, _) in before.drain().filter(|(limit, end)| is_over(limit, *end)) {
            let is_same = |it: &&Limit| {
                (&it.pool, &it.label, &it.hint) == (&limit.pool, &limit.label, &limit.hint)
            };
            if present.iter().any(|key| is_same(&key)) {
                info!(
                    target: "gateway",
                    route = &*limit.pool,
                    key.label = limit.label.as_deref(),
                    key.hint = limit.hint,
                    scope = limit.scope.as_ref().map(Scope::as_str),
                    by = "cooldown",
                    "key returned to service"
                );
            }
        }
        before = cooling;
    }
}
