//! What replicas tell each other.

use std::time::Duration;

use tower_key_failover::KeyPool;
use tower_key_failover::pool::KeyState;

use crate::replica::{LABELS, Replica, builder, fast, two_fast_replicas, two_replicas, until};
use crate::server;

#[tokio::test]
async fn a_cooldown_reaches_the_other_replicas() {
    let server = server!();
    let (one, other) = two_replicas(&server).await;
    one.cool_down(0, 30);
    other.cools_down(0, 30).await;
    assert_eq!(other.state(1), KeyState::Valid);
}

#[tokio::test]
async fn a_cooldown_that_is_over_in_a_moment_is_not_sent() {
    let server = server!();
    let (one, other) = two_replicas(&server).await;
    one.key(0).mark_temporary(Some(Duration::from_millis(200)));
    one.cool_down(1, 30);
    other.cools_down(1, 30).await;
    one.flushed().await;
    assert_eq!(one.sharing.status().published, 1);
    assert_eq!(other.state(0), KeyState::Valid);
}

#[tokio::test]
async fn an_extended_cooldown_reaches_the_other_replicas() {
    let server = server!();
    let (one, other) = two_replicas(&server).await;
    one.cool_down(0, 10);
    other.cools_down(0, 10).await;
    other.cool_down(0, 40);
    one.cools_down(0, 40).await;
}

#[tokio::test]
async fn a_new_replica_learns_what_the_others_know() {
    let server = server!();
    let one = Replica::start(&server.url()).await;
    one.cool_down(1, 30);
    one.pool.disable(LABELS[2]).unwrap();
    one.flushed().await;
    let new = Replica::start(&server.url()).await;
    new.cools_down(1, 30).await;
    until(|| new.state(2) == KeyState::Permanent).await;
}

#[tokio::test]
async fn a_replica_that_has_started_uses_no_key_that_an_operator_has_disabled() {
    let server = server!();
    let one = Replica::start(&server.url()).await;
    one.pool.disable(LABELS[2]).unwrap();
    one.flushed().await;
    let new = Replica::unconnected(&server.url(), builder());
    new.sharing.started().await.unwrap();
    assert_eq!(new.state(2), KeyState::Permanent);
}

#[tokio::test]
async fn a_permanent_mark_of_another_replica_raises_one_suspicion() {
    let server = server!();
    let (one, other) = two_replicas(&server).await;
    one.key(0).mark_permanent();
    until(|| other.suspicions(0) == 1).await;
    assert_eq!(other.state(0), KeyState::Valid);
    one.flushed().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(other.suspicions(0), 1);
    assert_eq!(one.state(0), KeyState::Permanent);
}

#[tokio::test]
async fn a_permanent_mark_does_not_hide_a_cooldown() {
    let server = server!();
    let (one, other) = two_replicas(&server).await;
    let third = Replica::start(&server.url()).await;
    one.key(0).mark_permanent();
    until(|| other.suspicions(0) == 1).await;
    other.cool_down(0, 30);
    third.cools_down(0, 30).await;
}

#[tokio::test]
async fn an_operator_disables_and_reinstates_keys_of_all_replicas() {
    let server = server!();
    let (one, other) = two_replicas(&server).await;
    one.pool.disable(LABELS[0]).unwrap();
    until(|| other.state(0) == KeyState::Permanent).await;
    other.pool.reinstate(LABELS[0]).unwrap();
    until(|| one.state(0) == KeyState::Valid).await;
    one.pool.disable(LABELS[0]).unwrap();
    until(|| other.state(0) == KeyState::Permanent).await;
}

#[tokio::test]
async fn an_operator_reinstates_a_key_that_another_replica_marked_permanently() {
    let server = server!();
    let (one, other) = two_replicas(&server).await;
    one.key(0).mark_permanent();
    until(|| other.suspicions(0) == 1).await;
    other.pool.reinstate(LABELS[0]).unwrap();
    until(|| one.state(0) == KeyState::Valid).await;
}

#[tokio::test]
async fn a_cooldown_of_a_group_reaches_keys_that_only_another_replica_has() {
    let server = server!();
    let one = KeyPool::builder().key("sk-canary-first-1").group("acme");
    let other = KeyPool::builder()
        .key("sk-canary-other")
        .key("sk-canary-second-2")
        .group("acme");
    let one = Replica::of(fast(&server.url()), one);
    let other = Replica::of(fast(&server.url()), other);
    one.connected().await;
    other.connected().await;
    one.cool_down(0, 30);
    other.cools_down(1, 30).await;
    assert_eq!(other.state(0), KeyState::Valid);
}

#[tokio::test]
async fn a_cooldown_that_ended_early_here_is_not_heard_again() {
    let server = server!();
    let (one, other) = two_fast_replicas(&server).await;
    one.cool_down(0, 30);
    other.cools_down(0, 30).await;
    other.key(0).mark_permanent();
    other.pool.reinstate(LABELS[0]).unwrap();
    until(|| one.state(0) == KeyState::Valid).await;
    // Both pull several times.
    one.cool_down(1, 30);
    other.cools_down(1, 30).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!([one.state(0), other.state(0)], [KeyState::Valid; 2]);
}
