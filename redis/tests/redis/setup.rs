//! Bad settings, and who is and who is not a replica.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tower_key_failover::KeyPool;
use tower_key_failover::pool::KeyState;
use tower_key_failover_redis::{Error, RedisSharing, SharingState};

use crate::replica::{Replica, SECRET, builder, fast};
use crate::server;

fn error(url: &str, name: &str, secret: &str) -> Error {
    let pool = Arc::new(KeyPool::new(["sk-canary-first-1"]).unwrap());
    let sharing = RedisSharing::new(url, name).secret(secret);
    match sharing.share(pool) {
        Ok(_) => panic!("{url} {name} is accepted"),
        Err(error) => error,
    }
}

#[test]
fn bad_settings_are_errors_that_reveal_nothing() {
    let url = "redis://localhost";
    for bad in [
        "",
        "localhost",
        "http://localhost",
        "redis://:hunter2@",
        "redis://host:port",
    ] {
        let error = error(bad, "pool", SECRET);
        assert_eq!(error, Error::InvalidUrl, "{bad}");
        assert!(!error.to_string().contains("hunter2"));
    }
    for bad in ["", "po{ol", "po}ol", "a pool", "pool\n", &"n".repeat(129)] {
        assert_eq!(error(url, bad, SECRET), Error::InvalidName, "{bad}");
    }
    assert_eq!(error(url, "pool", "only-15-bytes.."), Error::ShortSecret);
}

#[test]
fn debug_output_shows_neither_url_nor_secret() {
    let sharing = RedisSharing::new("redis://:hunter2@localhost", "pool").secret(SECRET);
    assert_eq!(
        format!("{sharing:?}"),
        r#"RedisSharing { name: "pool", .. }"#
    );
}

#[tokio::test]
async fn a_server_that_is_not_redis_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let _ = client.read(&mut [0; 1024]);
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let one = Replica::of(fast(&url), builder());
    assert_eq!(one.sharing.started().await, Err(Error::NotRedis));
    one.reaches(SharingState::Disconnected).await;
}

#[tokio::test]
async fn pools_with_other_secrets_or_names_are_no_replicas() {
    let server = server!();
    let one = Replica::fast(&server.url()).await;
    let other_secret = RedisSharing::new(server.url(), "pool").secret("another-secret-0123456789");
    let other_secret = Replica::of(other_secret.faster(10), builder());
    let other_name = RedisSharing::new(server.url(), "pool-2").secret(SECRET);
    let other_name = Replica::of(other_name.faster(10), builder());
    other_secret.connected().await;
    other_name.connected().await;

    one.cool_down(0, 30);
    other_secret.cool_down(1, 30);
    one.flushed().await;
    other_secret.flushed().await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(one.state(1), KeyState::Valid);
    assert_eq!(other_secret.state(0), KeyState::Valid);
    assert_eq!(other_name.state(0), KeyState::Valid);
    assert_eq!(other_name.state(1), KeyState::Valid);
    let new = Replica::fast(&server.url()).await;
    new.cools_down(0, 30).await;
}

#[tokio::test]
async fn a_replica_with_a_wrong_egress_address_costs_the_others_nothing() {
    let server = server!();
    let good = Replica::fast(&server.url()).await;
    // It restarts again and again, and every provider refuses it.
    for _ in 0..10 {
        let bad = Replica::fast(&server.url()).await;
        for at in 0..3 {
            bad.key(at).mark_permanent();
        }
        bad.flushed().await;
    }
    crate::replica::until(|| (0..3).all(|at| good.suspicions(at) == 1)).await;
    for at in 0..3 {
        assert_eq!(good.state(at), KeyState::Valid);
        assert_eq!(good.suspicions(at), 1);
    }
}
