//! What happens if the server misbehaves.

use std::time::Duration;

use tower_key_failover::pool::KeyState;
use tower_key_failover_redis::SharingState;

use crate::replica::{LABELS, Replica, builder, fast, two_fast_replicas, two_replicas, until};
use crate::server;
use crate::server::{KEY, PASSWORD, version};

#[tokio::test]
async fn a_server_that_is_stopped_delays_nobody_and_catches_up_later() {
    let server = server!();
    let (one, other) = two_fast_replicas(&server).await;
    server.signal("STOP");
    // The machine can be busy for a moment, but not each time.
    let delays = (0..5).map(|_| {
        let start = tokio::time::Instant::now();
        one.cool_down(0, 30);
        assert!(one.cooldown(0) > Duration::from_secs(20));
        tokio::time::Instant::now().saturating_duration_since(start)
    });
    assert!(delays.min() < Some(Duration::from_millis(100)));
    one.reaches(SharingState::Disconnected).await;
    other.reaches(SharingState::Disconnected).await;
    assert_eq!(other.state(0), KeyState::Valid);
    server.signal("CONT");
    other.cools_down(0, 30).await;
}

#[tokio::test]
async fn a_server_that_sleeps_catches_up_later() {
    let server = server!();
    let (one, other) = two_fast_replicas(&server).await;
    let sleeping = server.start_command(&["DEBUG", "SLEEP", "1"]);
    one.reaches(SharingState::Disconnected).await;
    one.cool_down(0, 30);
    other.cools_down(0, 30).await;
    drop(sleeping);
}

#[tokio::test]
async fn a_server_that_is_killed_and_restarts_empty_learns_everything_again() {
    let mut server = server!();
    let (one, other) = two_fast_replicas(&server).await;
    one.cool_down(0, 30);
    other.cools_down(0, 30).await;
    server.kill();
    one.reaches(SharingState::Disconnected).await;
    one.cool_down(1, 30);
    assert!(
        one.cooldown(0) > Duration::from_secs(25),
        "an outage reopens nothing"
    );
    server.restart();
    other.cools_down(1, 30).await;
    let new = Replica::fast(&server.url()).await;
    new.cools_down(0, 30).await;
    new.cools_down(1, 30).await;
}

#[tokio::test]
async fn replicas_restore_a_server_whose_data_was_flushed() {
    let server = server!();
    let one = Replica::start(&server.url()).await;
    one.cool_down(0, 30);
    one.pool.disable(LABELS[1]).unwrap();
    one.flushed().await;
    server.run(&["FLUSHALL"]);
    until(|| server.run(&["EXISTS", KEY]) == "1").await;
    let new = Replica::start(&server.url()).await;
    new.cools_down(0, 30).await;
    until(|| new.state(1) == KeyState::Permanent).await;
    assert_eq!(one.sharing.status().outages, 0);
}

#[tokio::test]
async fn a_wrong_password_is_an_outage_that_ends_when_it_is_corrected() {
    let server = server!("--requirepass", PASSWORD);
    let wrong = format!("redis://:wrong@{}/", server.addr());
    let one = Replica::of(fast(&wrong), builder());
    one.reaches(SharingState::Disconnected).await;
    let problem = one.sharing.status().problem.unwrap();
    assert!(!problem.contains("wrong@"), "{problem}");
    one.sharing.started().await.unwrap();
    server.run(&["CONFIG", "SET", "requirepass", "wrong"]);
    one.connected().await;
}

#[tokio::test]
async fn a_key_of_another_type_is_left_alone() {
    let server = server!();
    server.run(&["SET", KEY, "of another program"]);
    let one = Replica::of(fast(&server.url()), builder());
    one.reaches(SharingState::Refused).await;
    one.cool_down(0, 30);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.run(&["GET", KEY]), "of another program");
    server.run(&["DEL", KEY]);
    one.connected().await;
    one.flushed().await;
    assert_eq!(server.run(&["TYPE", KEY]), "hash");
}

#[tokio::test]
async fn a_hash_of_another_program_is_left_alone() {
    let server = server!();
    server.run(&["HSET", KEY, "field", "value"]);
    let one = Replica::unconnected(&server.url(), builder());
    one.reaches(SharingState::Refused).await;
    one.cool_down(0, 30);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.run(&["HGETALL", KEY]), "field\nvalue");
    assert_eq!(one.sharing.status().outages, 0);
}

#[tokio::test]
async fn a_server_without_memory_refuses_records_but_is_no_outage() {
    let server = server!();
    let (one, other) = two_replicas(&server).await;
    server.run(&["CONFIG", "SET", "maxmemory", "1"]);
    one.cool_down(0, 30);
    until(|| one.sharing.status().rejected > 0).await;
    one.reaches(SharingState::Refused).await;
    assert_eq!(one.sharing.status().outages, 0);
    server.run(&["CONFIG", "SET", "maxmemory", "0"]);
    other.cools_down(0, 30).await;
    one.connected().await;
}

#[tokio::test]
async fn a_read_only_server_refuses_records_but_is_no_outage() {
    let server = server!();
    let (one, other) = two_replicas(&server).await;
    server.run(&["REPLICAOF", "127.0.0.1", "1"]);
    one.cool_down(0, 30);
    until(|| one.sharing.status().rejected > 0).await;
    assert_eq!(one.sharing.status().outages, 0);
    server.run(&["REPLICAOF", "NO", "ONE"]);
    other.cools_down(0, 30).await;
}

#[tokio::test]
async fn scripts_that_the_server_forgot_are_loaded_again() {
    let server = server!();
    let (one, other) = two_replicas(&server).await;
    one.cool_down(0, 30);
    other.cools_down(0, 30).await;
    server.run(&["SCRIPT", "FLUSH"]);
    one.cool_down(1, 30);
    other.cools_down(1, 30).await;
    assert_eq!(one.sharing.status().outages, 0);
}

#[tokio::test]
async fn replicas_without_the_right_to_subscribe_poll() {
    let server = server!();
    // Redis 6.0 has no rights for channels.
    let denied = if version() >= (6, 2) {
        "resetchannels"
    } else {
        "-subscribe"
    };
    assert_eq!(server.run(&["ACL", "SETUSER", "default", denied]), "OK");
    let (one, other) = two_fast_replicas(&server).await;
    assert!(!other.sharing.status().is_subscribed);
    one.cool_down(0, 30);
    other.cools_down(0, 30).await;
    assert_eq!(one.sharing.status().rejected, 0);
}

#[tokio::test]
async fn replicas_without_the_right_to_choose_the_protocol_use_the_older_one() {
    let server = server!();
    server.run(&["ACL", "SETUSER", "default", "-hello"]);
    let (one, other) = two_fast_replicas(&server).await;
    one.cool_down(0, 30);
    other.cools_down(0, 30).await;
    assert!(other.sharing.status().is_subscribed);
}

#[tokio::test]
async fn replicas_with_both_protocols_understand_each_other() {
    let server = server!();
    let older = format!("{}?protocol=resp2", server.url());
    let (one, other) = (
        Replica::start(&server.url()).await,
        Replica::start(&older).await,
    );
    one.cool_down(0, 30);
    other.cools_down(0, 30).await;
    other.cool_down(1, 30);
    one.cools_down(1, 30).await;
}

#[tokio::test]
async fn connections_that_are_killed_during_scripts_lose_nothing() {
    let server = server!();
    let (one, other) = two_fast_replicas(&server).await;
    for round in 1..=10 {
        one.cool_down(0, 20 * round);
        server.run(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        server.run(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    }
    other.cools_down(0, 200).await;
    assert!(one.sharing.status().outages > 0);
}
