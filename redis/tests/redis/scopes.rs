//! Rate limits of one model.

use std::time::Duration;

use http::StatusCode;
use tower_key_failover::KeyPool;
use tower_key_failover::pool::KeyState;

use crate::proxy::{Network, Proxy};
use crate::replica::{KEYS, LABELS, Replica, fast, two_fast_replicas, two_replicas, until};
use crate::server;
use crate::server::KEY;
use crate::upstream::Upstream;

const HOT: &str = "model-hot";
const COLD: &str = "model-cold";

/// A provider that limits the first key for the hot model.
fn upstream() -> Upstream {
    let upstream = Upstream::default();
    upstream.limit(KEYS[0], HOT, 30);
    upstream
}

fn is_limited(replica: &Replica, at: usize, model: &str, seconds: u64) -> bool {
    let scopes = replica.scopes(at);
    scopes
        .iter()
        .any(|(scope, left)| scope == model && (seconds - 8..=seconds).contains(left))
}

#[tokio::test]
async fn a_limit_of_a_model_reaches_the_other_replicas_before_they_ask() {
    let server = server!();
    let (one, other) = two_replicas(&server).await;
    let (upstream, other_upstream) = (upstream(), upstream());
    assert_eq!(upstream.request_for(&one, HOT).await, StatusCode::OK);
    assert_eq!(upstream.attempts_with(KEYS[0]), 1);
    until(|| is_limited(&other, 0, HOT, 30)).await;

    assert_eq!(
        other_upstream.request_for(&other, HOT).await,
        StatusCode::OK
    );
    assert_eq!(other_upstream.attempts_with(KEYS[0]), 0);
    // The key works for other models.
    assert_eq!(
        other_upstream.request_for(&other, COLD).await,
        StatusCode::OK
    );
    assert_eq!(other_upstream.attempts_with(KEYS[0]), 1);
    assert_eq!(other.state(0), KeyState::Valid);
    one.flushed().await;
    assert_eq!(other.sharing.status().published, 0);
}

#[tokio::test]
async fn a_new_replica_learns_which_models_are_limited() {
    let server = server!();
    let one = Replica::fast(&server.url()).await;
    upstream().request_for(&one, HOT).await;
    one.flushed().await;
    let new = Replica::fast(&server.url()).await;
    until(|| is_limited(&new, 0, HOT, 30)).await;
    server.run(&["FLUSHALL"]);
    until(|| server.run(&["EXISTS", KEY]) == "1").await;
    let newer = Replica::fast(&server.url()).await;
    until(|| is_limited(&newer, 0, HOT, 30)).await;
}

#[tokio::test]
async fn a_limit_of_a_model_that_began_during_an_outage_is_shared_afterwards() {
    let server = server!();
    let proxy = Proxy::start(server.addr()).await;
    let (one, other) = (
        Replica::fast(&proxy.url()).await,
        Replica::fast(&server.url()).await,
    );
    proxy.set(Network::Closed);
    one.reaches(tower_key_failover_redis::SharingState::Disconnected)
        .await;
    upstream().request_for(&one, HOT).await;
    proxy.set(Network::Works);
    until(|| is_limited(&other, 0, HOT, 30)).await;
}

#[tokio::test]
async fn a_limit_of_a_model_reaches_keys_of_the_group_that_only_another_replica_has() {
    let server = server!();
    let one = KeyPool::builder().key(KEYS[0]).group("acme").key(KEYS[2]);
    let other = KeyPool::builder().key(KEYS[1]).group("acme");
    let one = Replica::of(fast(&server.url()), one);
    let other = Replica::of(fast(&server.url()), other);
    one.connected().await;
    other.connected().await;
    assert_eq!(upstream().request_for(&one, HOT).await, StatusCode::OK);
    until(|| is_limited(&other, 0, HOT, 30)).await;
}

#[tokio::test]
async fn an_operator_reinstates_the_models_of_a_key_on_all_replicas() {
    let server = server!();
    let (one, other) = two_fast_replicas(&server).await;
    upstream().request_for(&one, HOT).await;
    until(|| is_limited(&other, 0, HOT, 30)).await;
    other.pool.reinstate(LABELS[0]).unwrap();
    until(|| one.scopes(0).is_empty()).await;
    // The server still has the limit, which is from before the act.
    one.cool_down(1, 30);
    other.cools_down(1, 30).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(one.scopes(0).is_empty() && other.scopes(0).is_empty());
    let new = Replica::fast(&server.url()).await;
    new.cools_down(1, 30).await;
    assert!(new.scopes(0).is_empty());

    // A later refusal is shared again.
    upstream().request_for(&one, HOT).await;
    until(|| is_limited(&other, 0, HOT, 30)).await;
    until(|| is_limited(&new, 0, HOT, 30)).await;
}

#[tokio::test]
async fn replicas_that_are_refused_for_two_models_within_a_second_share_the_limit_of_the_key() {
    let server = server!();
    let (one, other) = two_replicas(&server).await;
    let upstream = upstream();
    upstream.limit(KEYS[0], COLD, 20);
    upstream.request_for(&one, HOT).await;
    until(|| !other.scopes(0).is_empty()).await;
    assert_eq!(other.state(0), KeyState::Valid);
    upstream.request_for(&other, COLD).await;
    assert!(other.cooldown(0) > Duration::from_secs(12));
    one.cools_down(0, 20).await;
}
