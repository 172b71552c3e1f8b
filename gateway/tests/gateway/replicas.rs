//! Gateways that learn from each other over a Redis server.

use std::io::{Read, Write};
use std::net::TcpListener;

use test_support::redis_server::RedisServer;

use crate::config::{ConfigFile, route};
use crate::support::{
    GOOD, Gateway, LIMITED, REVOKED, Start, Upstream, configured, gateway, get, post, send, soon,
    until, upstream,
};

const SECRET: &str = "token-canary-of-the-replicas";

/// Returns `None` if there is no redis-server.
fn redis() -> Option<RedisServer> {
    let server = RedisServer::start(&[]);
    if server.is_none() {
        println!("skipped: no redis-server");
    }
    server
}

fn replica(upstream: &Upstream, url: &str) -> Start {
    let gateway = gateway("openai", &upstream.url).keys([REVOKED, LIMITED, GOOD]);
    let gateway = gateway.admin().admin_token();
    gateway
        .args(["--redis", url])
        .env("GATEWAY_REDIS_SECRET", SECRET)
}

async fn reaches(gateway: &Gateway, state: &str) {
    until(async || {
        let health = send(get(&gateway.admin_url("/healthz"))).await.json();
        health["replicas"]["openai"]["state"] == state
    })
    .await;
}

#[tokio::test]
async fn marks_and_acts_of_operators_reach_the_other_gateway() {
    let Some(redis) = redis() else {
        return;
    };
    let upstream = upstream().await;
    let one = replica(&upstream, &redis.url()).listen().await;
    let other = replica(&upstream, &redis.url()).listen().await;
    reaches(&one, "connected").await;
    reaches(&other, "connected").await;

    send(post(&one.url("/"))).await;
    assert_eq!(one.states().await, ["permanent", "temporary", "valid"]);

    // The permanent mark is only a suspicion there.
    until(async || other.states().await == ["valid", "temporary", "valid"]).await;
    until(async || other.keys().await[0]["suspicions"] == 1).await;

    other.change("/keys/2/disable").await;
    until(async || one.states().await[2] == "permanent").await;
}

#[tokio::test]
async fn the_health_check_the_page_and_the_metrics_show_the_replicas() {
    let Some(redis) = redis() else {
        return;
    };
    let upstream = upstream().await;
    let one = replica(&upstream, &redis.url()).listen().await;
    reaches(&one, "connected").await;
    let about = send(get(&one.admin_url("/about"))).await.json();
    assert_eq!(about["replicas"]["openai"]["state"], "connected");
    if cfg!(feature = "metrics") {
        let metrics = send(get(&one.admin_url("/metrics"))).await.text;
        let line = "gateway_replicas_connected{pool=\"openai\"} 1";
        assert!(metrics.lines().any(|there| there == line), "{metrics}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_no_reason_not_to_start() {
    let (upstream, url) = (upstream().await, "redis://:hunter2@127.0.0.1:1/");
    let one = replica(&upstream, url).listen().await;
    reaches(&one, "disconnected").await;
    assert_eq!(send(post(&one.url("/"))).await.status, 200);
    assert_eq!(send(get(&one.admin_url("/healthz"))).await.status, 200);
    one.signal("TERM").await;
    let ended = one.ended().await;
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    assert_eq!(
        ended.stderr.matches("not shared").count(),
        1,
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn bad_settings_of_the_replicas_are_rejected() {
    let upstream = upstream().await;
    let bare = |url: &str| {
        gateway("openai", &upstream.url)
            .keys([GOOD])
            .args(["--redis", url])
    };
    let good = "redis://127.0.0.1:1/";
    let line = bare(good).refused().await;
    assert!(line.contains("GATEWAY_REDIS_SECRET"), "{line}");
    let line = bare(good)
        .env("GATEWAY_REDIS_SECRET", "short")
        .refused()
        .await;
    assert!(line.contains("16 bytes"), "{line}");
    let start = bare("http://:hunter2@127.0.0.1/").env("GATEWAY_REDIS_SECRET", SECRET);
    let line = start.refused().await;
    assert!(line.contains("URL") && !line.contains("hunter2"), "{line}");
    assert!(!line.contains(SECRET), "{line}");
}

#[tokio::test]
async fn a_pool_whose_name_has_braces_is_rejected() {
    let upstream = upstream().await;
    let file = ConfigFile::new(&format!(
        "redis = \"redis://127.0.0.1:1/\"\n{}",
        route("\"po{ol}\"", "", &upstream.url, GOOD)
    ));
    let start = configured(&file.path).env("GATEWAY_REDIS_SECRET", SECRET);
    let line = start.refused().await;
    assert!(line.contains("the name of a route"), "{line}");
}

#[tokio::test]
async fn a_server_that_is_not_redis_is_rejected() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let mut client = client;
            let _ = client.read(&mut [0; 1024]);
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let upstream = upstream().await;
    let line = soon(replica(&upstream, &url).refused()).await;
    assert!(line.contains("protocol of Redis"), "{line}");
}
