//! Servers that answer with anything but what was asked for.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tower_key_failover::pool::KeyState;
use tower_key_failover_redis::SharingState;

use crate::replica::{LABELS, Replica, builder, fast, two_fast_replicas, until};
use crate::server;
use crate::server::KEY;

/// A server that completes the handshake and answers each script with `reply`. Returns its URL.
async fn hostile(reply: &[u8]) -> String {
    hostile_to(reply, reply).await
}

/// The same with different replies to pulls and to pushes.
async fn hostile_to(pull: &[u8], push: &[u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}/", listener.local_addr().unwrap());
    let port = listener.local_addr().unwrap().port().to_string();
    let replies = [pull, push].map(|reply| match str::from_utf8(reply) {
        // The port of this server.
        Ok(text) => text.replace("PORT", &port).into_bytes(),
        Err(_) => reply.to_vec(),
    });
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let [pull, push] = replies.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(count @ 1..) = client.read(&mut buffer).await {
                    let asked = String::from_utf8_lossy(&buffer[..count]);
                    let answer: &[u8] = if asked.contains("HELLO") {
                        b"%1\r\n$5\r\nproto\r\n:3\r\n"
                    } else if asked.contains("SUBSCRIBE") {
                        b">3\r\n$9\r\nsubscribe\r\n$25\r\ntower-key-failover:{pool}\r\n:1\r\n"
                    } else if asked.contains("rate_limited") || asked.contains("other") {
                        &push
                    } else {
                        &pull
                    };
                    if client.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// A reply to a pull.
fn pulled(now: &str, version: &str, records: &[&str]) -> Vec<u8> {
    let (now, nonce, version) = (bulk(now), bulk("nonce"), bulk(version));
    let records: String = records.iter().map(|text| bulk(text)).collect();
    let count = records.matches('$').count();
    format!("*4\r\n{now}{nonce}{version}*{count}\r\n{records}").into_bytes()
}

async fn is_unharmed(reply: &[u8], shown: &str) -> SharingState {
    let replica = Replica::of(fast(&hostile(reply).await), builder());
    replica.cool_down(0, 30);
    let status = || replica.sharing.status();
    until(|| status().commands >= 2 || status().outages > 0).await;
    assert_ne!(status().state, SharingState::Stopped, "{shown}");
    assert!(replica.cooldown(0) > Duration::from_secs(20), "{shown}");
    assert_eq!(replica.state(1), KeyState::Valid, "{shown}");
    status().state
}

#[tokio::test]
async fn replies_of_other_types_change_nothing() {
    for reply in [
        "+OK\r\n",
        ":1\r\n",
        "_\r\n",
        "$-1\r\n",
        "#t\r\n",
        ",inf\r\n",
        "*0\r\n",
        "*-1\r\n",
        "%0\r\n",
        "*1\r\n:1\r\n",
        "*4\r\n:1\r\n:1\r\n:1\r\n:1\r\n",
        "*4\r\n+1\r\n+nonce\r\n+1\r\n+records\r\n",
        "*3\r\n+now\r\n+nonce\r\n+version\r\n",
        "*3\r\n+1\r\n+nonce\r\n+-1\r\n",
        "-ERR no\r\n",
        "-MOVED\r\n",
        "-MOVED 1 host\r\n",
        "-LOADING Redis is loading\r\n",
    ] {
        let state = is_unharmed(reply.as_bytes(), reply).await;
        assert_ne!(state, SharingState::Connected, "{reply}");
    }
}

#[tokio::test]
async fn replies_that_are_no_protocol_or_never_end_change_nothing() {
    let nested = "*1\r\n".repeat(10_000);
    let huge = ["$2000000000\r\n", &"x".repeat(8 << 20)].concat();
    let many = ["*2000000000\r\n", &":1\r\n".repeat(100_000)].concat();
    for reply in [
        "\0\0\0",
        "HTTP/1.1 200 OK\r\n\r\n",
        "$5\r\n",
        &nested,
        &huge,
        &many,
    ] {
        is_unharmed(reply.as_bytes(), &reply[..5.min(reply.len())]).await;
    }
}

#[tokio::test]
async fn numbers_that_no_script_returns_change_nothing() {
    let (most, beyond) = ("18446744073709551615", "18446744073709551616");
    let name = "0".repeat(32);
    let record = format!("{most} {most} {most} c other");
    let sealed = format!("1 9007199254740991 1 s other {}", "ab".repeat(32));
    for (now, version) in [
        (most, "1"),
        (beyond, "1"),
        ("0", most),
        ("1", beyond),
        (most, most),
    ] {
        let records = [&name, &record, &name, &sealed, "nonsense", &name].map(AsRef::as_ref);
        is_unharmed(&pulled(now, version, &records), &format!("{now} {version}")).await;
    }
}

#[tokio::test]
async fn nodes_that_send_replicas_around_in_circles_are_an_outage() {
    let moved = b"-MOVED 1 :PORT\r\n";
    for url in [
        hostile(b"-MOVED 1 127.0.0.1:1\r\n").await,
        hostile(moved).await,
        hostile_to(&pulled("1", "0", &[]), moved).await,
    ] {
        let replica = Replica::of(fast(&url), builder());
        replica.cool_down(0, 30);
        until(|| replica.sharing.status().outages > 0).await;
        assert_eq!(replica.state(1), KeyState::Valid);
    }
}

#[tokio::test]
async fn nonsense_in_the_hash_of_the_pool_is_replaced() {
    let server = server!();
    let (one, other) = two_fast_replicas(&server).await;
    one.cool_down(0, 30);
    one.pool.disable(LABELS[1]).unwrap();
    other.cools_down(0, 30).await;
    until(|| other.state(1) == KeyState::Permanent).await;
    let fields = server.run(&["HKEYS", KEY]);
    for name in fields.lines().filter(|field| field.len() == 32) {
        server.run(&["HSET", KEY, name, "nonsense"]);
    }
    server.run(&["HSET", KEY, "pruned", "nonsense"]);
    server.run(&["HINCRBY", KEY, "version", "1"]);
    let is_nonsense = || server.run(&["HVALS", KEY]).matches("nonsense").count();
    until(|| is_nonsense() == 0).await;
    let new = Replica::fast(&server.url()).await;
    new.cools_down(0, 30).await;
    until(|| new.state(1) == KeyState::Permanent).await;
    assert_eq!(one.sharing.status().rejected, 0);
}
