//! The end of a run: the upstream refuses only keys that are no longer valid, and everything must be well.

use std::collections::HashMap;
use std::time::Duration;

use tower_key_failover::BoxError;

use crate::agreement::agree;
use crate::connections::Protocol;
use crate::keys::{route_of, scope_of};
use crate::lane::Lane;
use crate::states::scopes;
use crate::traffic::SESSIONS;
use crate::waiting::until_well;

/// Longer than the short rate limits.
const SHORT: u64 = 1_000;

impl Lane {
    /// Sends requests until each replica knows the refusal of each key that is no longer valid.
    pub async fn calm(&self) -> Result<(), BoxError> {
        self.is_quiet().await?;
        self.upstream.calm_down();
        for replica in 0..self.replicas.len() {
            for protocol in [Protocol::Http1, Protocol::Http2] {
                self.traffic.ask_well(protocol, 40, replica).await;
            }
            // Keys that have just been limited were used by one replica only.
            for wrong in agree(&self.replicas, Duration::ZERO).await? {
                self.violation(&format!("the replicas do not agree: {wrong}"));
            }
        }
        self.sessions_keep_their_keys().await;
        for replica in &*self.replicas {
            replica.look_at_keys(true, &self.ledger).await?;
        }
        for turn in 0..self.replicas.len() {
            let done = self.operator().disable_one(turn, Duration::ZERO).await;
            if let Err(error) = done {
                self.violation(&format!("an operator failed: {error}"));
            }
        }
        Ok(())
    }

    /// Waits until no request is in flight, and short rate limits are over.
    async fn is_quiet(&self) -> Result<(), BoxError> {
        for replica in &*self.replicas {
            let wrong = until_well(10, || async {
                let mut shown = replica.admin().await?.keys().await?;
                shown.retain(|told| {
                    let is_short = |left: u64| left <= SHORT;
                    let mut limits = [told].into_iter().chain(scopes(told));
                    told["in_flight"] != 0
                        || limits.any(|it| it["retry_after_ms"].as_u64().is_some_and(is_short))
                });
                Ok(shown.iter().map(ToString::to_string).collect())
            });
            for wrong in wrong.await? {
                self.violation(&format!("replica {} is busy: {wrong}", replica.number));
            }
        }
        Ok(())
    }

    /// All replicas choose the same key for a session.
    async fn sessions_keep_their_keys(&self) {
        let mut keys = HashMap::new();
        for replica in 0..self.replicas.len() {
            for session in 0..SESSIONS {
                let asked = self.traffic.ask_in_session(session, replica).await;
                for (number, key) in asked {
                    let (route, scope) = (route_of(number), scope_of(number));
                    let first = keys.entry((session, route, scope));
                    let first = first.or_insert_with(|| key.clone());
                    if *first != key {
                        let told = format!("session {session} moved from {first:?} to {key:?}");
                        self.violation(&format!("{route}, {scope}: {told}"));
                    }
                }
            }
        }
    }
}
