//! Whether replicas agree on the limits that they share: rate limits, and what operators do.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tower_key_failover::BoxError;

use crate::keys::SCOPES;
use crate::replica::Replica;
use crate::states::scopes;
use crate::waiting::until_well;

/// How much the ends of a limit can differ: replicas are asked one after the other, and do not share
/// extensions of less than 250 ms.
const TOLERANCE: Duration = Duration::from_secs(1);

/// Longer than any limit that cannot be told.
const FOREVER: Duration = Duration::MAX;

/// For how long each key cannot be used, without a scope and in each scope.
type Limits = BTreeMap<(String, String, &'static str), Duration>;

/// Waits until the replicas agree on limits that last for at least `lasting`. Returns on what they do not.
pub async fn agree(replicas: &[Replica], lasting: Duration) -> Result<Vec<String>, BoxError> {
    until_well(10, || async {
        let (one, other) = (limits(&replicas[0]).await?, limits(&replicas[1]).await?);
        let both = one
            .iter()
            .filter_map(|(of, left)| Some((of, *left, *other.get(of)?)));
        let differ = both.filter(|(_, one, other)| {
            *one.max(other) >= lasting && one.abs_diff(*other) > TOLERANCE
        });
        let wrong = differ.map(|(of, one, other)| format!("{of:?}: {one:?} and {other:?}"));
        Ok(wrong.collect())
    })
    .await
}

/// Keys that only this replica knows to be unusable are missing.
async fn limits(replica: &Replica) -> Result<Limits, BoxError> {
    let mut limits = Limits::new();
    for told in replica.admin().await?.keys().await? {
        let is_by_operator = told["last_reason"] == "operator";
        if told["state"] == "permanent" && !is_by_operator {
            continue;
        }
        let whole = left(&told);
        let name = |field: &str| told[field].as_str().unwrap_or_default().to_owned();
        for scope in ["", SCOPES[0], SCOPES[1], SCOPES[2]] {
            let scoped = scopes(&told).filter(|told| told["scope"] == scope && is_shared(told));
            let left = scoped.map(left).fold(whole, Duration::max);
            limits.insert((name("pool"), name("hint"), scope), left);
        }
    }
    Ok(limits)
}

/// That a key may not use a model is not shared.
fn is_shared(scope: &Value) -> bool {
    ["rate_limited", "quota"]
        .iter()
        .any(|reason| scope["last_reason"] == *reason)
}

fn left(told: &Value) -> Duration {
    match told["state"].as_str() {
        Some("permanent") => FOREVER,
        _ => Duration::from_millis(told["retry_after_ms"].as_u64().unwrap_or(0)),
    }
}
