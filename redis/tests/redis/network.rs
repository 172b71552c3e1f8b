//! What happens if the network between a replica and the server misbehaves.

use std::sync::Arc;
use std::time::Duration;

use tower_key_failover::pool::{KeyState, NewKey};
use tower_key_failover_redis::SharingState;

use crate::proxy::{Network, Proxy};
use crate::replica::{
    KEYS, LABELS, Replica, builder, fast, two_fast_replicas, two_replicas, until,
};
use crate::server;
use crate::server::Server;

/// Two replicas. The first one is connected through a proxy.
async fn one_behind_a_proxy(server: &Server) -> (Proxy, Replica, Replica) {
    let proxy = Proxy::start(server.addr()).await;
    let one = Replica::fast(&proxy.url()).await;
    (proxy, one, Replica::fast(&server.url()).await)
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_replaced() {
    let server = server!();
    let (proxy, one, other) = one_behind_a_proxy(&server).await;
    proxy.set(Network::Silent);
    one.reaches(SharingState::Disconnected).await;
    proxy.set(Network::Works);
    other.cool_down(0, 30);
    one.cools_down(0, 30).await;
}

#[tokio::test]
async fn answers_that_are_lost_during_scripts_repeat_nothing() {
    let server = server!();
    let (proxy, one, other) = one_behind_a_proxy(&server).await;
    for at in 0..3 {
        proxy.set(Network::Deaf);
        one.key(at).mark_permanent();
        until(|| other.suspicions(at) == 1).await;
        // The next connection works.
        until(|| one.sharing.status().outages > at as u64).await;
        proxy.set(Network::Works);
        one.connected().await;
        one.flushed().await;
        assert_eq!(other.suspicions(at), 1);
    }
    assert_eq!(other.sharing.status().published, 0);
}

#[tokio::test]
async fn a_replica_that_is_shared_again_sends_what_it_could_not_send() {
    let server = server!();
    let other = Replica::fast(&server.url()).await;
    let proxy = Proxy::start(server.addr()).await;
    let one = Replica::fast(&proxy.url()).await;
    proxy.set(Network::Deaf);
    one.cool_down(0, 30);
    // The answer is on its way when the future is dropped.
    other.cools_down(0, 30).await;
    one.stop();
    one.reaches(SharingState::Stopped).await;
    one.cool_down(1, 30);
    let (sharing, run) = fast(&server.url()).share(Arc::clone(&one.pool)).unwrap();
    let again = tokio::spawn(run);
    assert!(sharing.flush(Duration::from_secs(10)).await);
    other.cools_down(1, 30).await;
    again.abort();
}

#[tokio::test]
async fn a_flush_that_is_dropped_changes_nothing() {
    let server = server!();
    let (proxy, one, other) = one_behind_a_proxy(&server).await;
    proxy.set(Network::Silent);
    one.cool_down(0, 30);
    for _ in 0..10 {
        let flush = one.sharing.flush(Duration::from_secs(10));
        assert!(
            tokio::time::timeout(Duration::from_millis(1), flush)
                .await
                .is_err()
        );
    }
    proxy.set(Network::Works);
    one.flushed().await;
    other.cools_down(0, 30).await;
}

#[tokio::test]
async fn what_operators_do_during_an_outage_applies_afterwards() {
    let server = server!();
    let (proxy, one, other) = one_behind_a_proxy(&server).await;
    other.pool.disable(LABELS[1]).unwrap();
    until(|| one.state(1) == KeyState::Permanent).await;
    proxy.set(Network::Closed);
    one.reaches(SharingState::Disconnected).await;

    // Each replica has an operator. The last act counts.
    one.pool.disable(LABELS[0]).unwrap();
    other.pool.reinstate(LABELS[1]).unwrap();
    other.pool.disable(LABELS[2]).unwrap();
    other.flushed().await;
    // Which act is the last one is known up to the time that a message takes.
    tokio::time::sleep(Duration::from_secs(1)).await;
    one.pool.reinstate(LABELS[2]).unwrap();

    proxy.set(Network::Works);
    until(|| other.state(0) == KeyState::Permanent).await;
    until(|| one.state(1) == KeyState::Valid).await;
    until(|| other.state(2) == KeyState::Valid).await;
}

#[tokio::test]
async fn keys_that_were_added_during_an_outage_are_shared_afterwards() {
    let server = server!();
    let (proxy, one, other) = one_behind_a_proxy(&server).await;
    proxy.set(Network::Closed);
    one.reaches(SharingState::Disconnected).await;
    let new = ["sk-canary-fourth-4", KEYS[2], KEYS[0]].map(NewKey::new);
    one.pool.replace_keys(new).unwrap();
    other.pool.add_key("sk-canary-fourth-4").unwrap();
    other.cool_down(3, 30);
    other.cool_down(1, 30);
    one.cool_down(2, 60);
    proxy.set(Network::Works);
    one.cools_down(0, 30).await;
    other.cools_down(0, 60).await;
    assert_eq!(one.state(1), KeyState::Valid);
}

#[tokio::test]
async fn a_key_that_is_added_learns_what_is_known_of_it() {
    let server = server!();
    let (one, other) = two_fast_replicas(&server).await;
    other.pool.add_key("sk-canary-fourth-4").unwrap();
    other.cool_down(3, 30);
    other.flushed().await;
    one.pool.add_key("sk-canary-fourth-4").unwrap();
    one.cools_down(3, 30).await;
}

#[tokio::test]
async fn a_replica_that_was_away_for_longer_than_records_are_kept_brings_nothing_back() {
    let server = server!();
    let (proxy, one, other) = one_behind_a_proxy(&server).await;
    one.pool.disable(LABELS[0]).unwrap();
    until(|| other.state(0) == KeyState::Permanent).await;
    proxy.set(Network::Closed);
    one.reaches(SharingState::Disconnected).await;
    other.pool.reinstate(LABELS[0]).unwrap();
    other.flushed().await;
    // The server forgets the records, as it does in the end. Replicas remember them.
    server.run(&["FLUSHALL"]);
    proxy.set(Network::Works);
    until(|| one.state(0) == KeyState::Valid).await;
    one.connected().await;
    other.flushed().await;
    assert_eq!(other.state(0), KeyState::Valid);
}

#[tokio::test]
async fn a_replica_starts_without_a_server_and_connects_later() {
    let mut server = server!();
    server.kill();
    let one = Replica::of(fast(&server.url()), builder());
    one.sharing.started().await.unwrap();
    one.reaches(SharingState::Disconnected).await;
    one.cool_down(0, 30);
    assert!(!one.sharing.flush(Duration::from_millis(50)).await);
    server.restart();
    let other = Replica::fast(&server.url()).await;
    other.cools_down(0, 30).await;
}

#[tokio::test]
async fn a_replica_that_stops_sharing_continues_alone() {
    let server = server!();
    let (one, other) = two_replicas(&server).await;
    one.cool_down(0, 30);
    other.cools_down(0, 30).await;
    other.stop();
    other.reaches(SharingState::Stopped).await;
    assert!(other.cooldown(0) > Duration::from_secs(25));
    assert!(!other.sharing.flush(Duration::from_secs(5)).await);
    one.cool_down(1, 30);
    one.flushed().await;
    assert_eq!(other.state(1), KeyState::Valid);
}
