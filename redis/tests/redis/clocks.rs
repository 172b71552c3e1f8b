//! Clocks that show a wrong time, or jump.
//!
//! With libfaketime, the server runs with a clock that the tests set. The other tests move the times of the
//! records in the opposite direction, which is the same: the scripts read no other clock.

use std::process::Command;
use std::time::{Duration, SystemTime};

use tower_key_failover::pool::KeyState;
use tower_key_failover_redis::SharingState;

use crate::proxy::{Network, Proxy};
use crate::replica::{LABELS, Replica, two_fast_replicas, until};
use crate::server;
use crate::server::{FakeClock, KEY, Server};

const HOUR: i64 = 3600;

/// A server whose clock can be set, or nothing without libfaketime.
fn server_with_fake_clock() -> Option<Server> {
    let server = Server::with_fake_clock();
    if server.is_none() {
        println!("skipped: no redis-server or no libfaketime");
    }
    server
}

async fn a_jump_of_a_real_clock_changes_nothing(hours: i32) {
    let Some(server) = server_with_fake_clock() else {
        return;
    };
    let (one, other) = two_fast_replicas(&server).await;
    one.cool_down(0, 30);
    other.cools_down(0, 30).await;
    let before = server.time();
    server.set_clock(hours);
    until(|| (server.time() - before - HOUR * i64::from(hours)).abs() < 60).await;

    // What was known stays, and is neither prolonged nor ended.
    tokio::time::sleep(Duration::from_millis(700)).await;
    one.cools_down(0, 29).await;
    other.cools_down(0, 29).await;
    // Marks, acts of operators and new replicas work as before.
    one.cool_down(1, 30);
    other.cools_down(1, 30).await;
    other.pool.disable(LABELS[2]).unwrap();
    until(|| one.state(2) == KeyState::Permanent).await;
    one.pool.reinstate(LABELS[2]).unwrap();
    until(|| other.state(2) == KeyState::Valid).await;
    let new = Replica::fast(&server.url()).await;
    new.cools_down(1, 30).await;
    assert_eq!(one.sharing.status().rejected, 0);
}

#[tokio::test]
async fn a_server_whose_clock_jumps_an_hour_forward_changes_nothing() {
    a_jump_of_a_real_clock_changes_nothing(1).await;
}

#[tokio::test]
async fn a_server_whose_clock_jumps_an_hour_backward_changes_nothing() {
    a_jump_of_a_real_clock_changes_nothing(-1).await;
}

#[tokio::test]
async fn a_replica_that_was_away_for_longer_than_the_server_keeps_records_brings_nothing_back() {
    let Some(server) = server_with_fake_clock() else {
        return;
    };
    let proxy = Proxy::start(server.addr()).await;
    let one = Replica::fast(&proxy.url()).await;
    let other = Replica::fast(&server.url()).await;
    one.pool.disable(LABELS[0]).unwrap();
    one.cool_down(1, 30);
    until(|| other.state(0) == KeyState::Permanent).await;
    other.cools_down(1, 30).await;
    proxy.set(Network::Closed);
    one.reaches(SharingState::Disconnected).await;
    other.pool.reinstate(LABELS[0]).unwrap();
    other.flushed().await;

    let nonce = server.run(&["HGET", KEY, "nonce"]);
    server.set_clock(8 * 24);
    // The records expire. A replica that knows them sends them again.
    until(|| {
        let new = server.run(&["HGET", KEY, "nonce"]);
        !new.is_empty() && new != nonce
    })
    .await;
    proxy.set(Network::Works);
    until(|| one.state(0) == KeyState::Valid).await;
    one.flushed().await;
    other.flushed().await;
    assert_eq!(other.state(0), KeyState::Valid);
    one.cools_down(1, 29).await;
}

/// Runs the next test in a process whose clock shows another time.
#[tokio::test]
async fn replicas_whose_clocks_differ_by_an_hour_understand_each_other() {
    let server = server!();
    for hours in ["-1h", "+1h"] {
        let Some(clock) = FakeClock::new() else {
            println!("skipped: no libfaketime");
            return;
        };
        clock.set(hours);
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args([
            "--exact",
            "clocks::a_replica_with_another_clock",
            "--ignored",
            "--nocapture",
        ]);
        clock.give(&mut child);
        child.env("TEST_REDIS_URL", server.url());
        child.env("TEST_TIME", server.time().to_string());
        let mut child = child.spawn().unwrap();
        let here = Replica::fast(&server.url()).await;
        here.cools_down(0, 30).await;
        here.cool_down(1, 40);
        here.pool.disable(LABELS[2]).unwrap();
        let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
        assert!(ended.await.unwrap().success());
        until(|| here.state(2) == KeyState::Valid).await;
        server.run(&["FLUSHALL"]);
    }
}

#[ignore = "another test runs it"]
#[tokio::test]
async fn a_replica_with_another_clock() {
    let Ok(url) = std::env::var("TEST_REDIS_URL") else {
        return;
    };
    let time: u64 = std::env::var("TEST_TIME").unwrap().parse().unwrap();
    let here = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(here.abs_diff(time) > 3_500);
    let one = Replica::fast(&url).await;
    one.cool_down(0, 30);
    one.cools_down(1, 40).await;
    until(|| one.state(2) == KeyState::Permanent).await;
    one.pool.reinstate(LABELS[2]).unwrap();
    one.flushed().await;
}

/// The same as a jump of the server's clock in the other direction.
fn shift_records(server: &Server, hours: i64) {
    let script = "\
        local all = redis.call('HGETALL', KEYS[1]) \
        for at = 1, #all, 2 do \
            local epoch, ends, made, rest = string.match(all[at + 1], '^(%d+) (%d+) (%d+) (.*)$') \
            if made then \
                ends = string.format('%.0f', ends + ARGV[1]) \
                made = string.format('%.0f', made + ARGV[1]) \
                redis.call('HSET', KEYS[1], all[at], epoch .. ' ' .. ends .. ' ' .. made .. ' ' .. rest) \
            end \
        end \
        redis.call('HINCRBY', KEYS[1], 'version', 1)";
    let millis = (hours * 3_600_000).to_string();
    server.run(&["EVAL", script, "1", KEY, &millis]);
}

#[tokio::test]
async fn a_server_clock_that_jumps_backward_prolongs_no_cooldown() {
    let server = server!();
    let one = Replica::fast(&server.url()).await;
    one.cool_down(0, 30);
    one.flushed().await;
    shift_records(&server, 1);
    let new = Replica::fast(&server.url()).await;
    new.cools_down(0, 30).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(one.cooldown(0) <= Duration::from_secs(30));
    one.cool_down(1, 30);
    new.cools_down(1, 30).await;
}

#[tokio::test]
async fn a_server_clock_that_jumps_forward_ends_no_cooldown() {
    let server = server!();
    let one = Replica::fast(&server.url()).await;
    one.cool_down(0, 30);
    one.flushed().await;
    shift_records(&server, -1);
    tokio::time::sleep(Duration::from_millis(600)).await;
    one.cools_down(0, 30).await;
    let new = Replica::fast(&server.url()).await;
    new.cools_down(0, 30).await;
}
