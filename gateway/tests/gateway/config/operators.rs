//! What operators see of several routes.

use serde_json::{Value, json};

use super::{ConfigFile, route};
use crate::support::{GOOD, Gateway, REVOKED, configured, get, post, send, upstream};

const OTHER: &str = "sk-canary-other-44444444";

/// Two routes. The only key of the first one is permanently marked.
async fn two() -> (Gateway, ConfigFile) {
    let upstream = upstream().await;
    let file = ConfigFile::new(
        &[
            route("a", "prefix = \"/a\"", &upstream.url, REVOKED),
            route(
                "b",
                "prefix = \"/b\"",
                &upstream.url,
                &format!("team = {OTHER}"),
            ),
        ]
        .concat(),
    );
    let gateway = configured(&file.path).admin_token().listen().await;
    assert_eq!(send(post(&gateway.url("/a/v1"))).await.status, 502);
    (gateway, file)
}

async fn read(gateway: &Gateway, path: &str) -> (u16, Value) {
    let response = send(get(&gateway.admin_url(path))).await;
    (response.status, response.json())
}

#[tokio::test]
async fn all_pools_are_shown_and_a_query_selects_one() {
    let (gateway, _file) = two().await;

    let pools = |keys: &Value| {
        let keys = keys.as_array().unwrap().iter();
        let pools = keys.map(|key| key["pool"].as_str().unwrap().to_owned());
        pools.collect::<Vec<_>>()
    };
    assert_eq!(pools(&read(&gateway, "/keys").await.1), ["a", "b"]);
    assert_eq!(pools(&read(&gateway, "/keys?pool=b").await.1), ["b"]);
    assert_eq!(read(&gateway, "/keys?pool=c").await.1, json!([]));
    let (_, failovers) = read(&gateway, "/failovers").await;
    assert_eq!(
        (&failovers[0]["route"], &failovers[0]["path"]),
        (&json!("a"), &json!("/a/v1"))
    );
    let (_, about) = read(&gateway, "/about").await;
    assert_eq!(
        (&about["routes"][1]["name"], &about["routes"][1]["match"]),
        (&json!("b"), &json!("/b/"))
    );
}

#[tokio::test]
async fn the_gateway_is_healthy_while_one_pool_has_a_key() {
    let (gateway, _file) = two().await;

    let (status, health) = read(&gateway, "/healthz").await;
    assert_eq!((status, &health["permanent"]), (200, &json!(1)));
    assert_eq!(
        health["pools"]["a"]["status"],
        "every key is permanently marked"
    );
    assert_eq!(health["pools"]["b"]["status"], "ok");
    assert_eq!(read(&gateway, "/healthz?pool=a").await.0, 503);
    assert_eq!(read(&gateway, "/healthz?pool=b").await.0, 200);

    gateway.change("/keys/team/disable?pool=b").await;
    assert_eq!(read(&gateway, "/healthz").await.0, 503);
}

#[tokio::test]
async fn changes_name_the_pool_if_there_are_several() {
    let (gateway, _file) = two().await;

    let ambiguous = gateway.change("/keys/0/disable").await;
    assert_eq!(ambiguous.status, 409);
    assert!(ambiguous.text.contains("?pool="), "{}", ambiguous.text);
    assert_eq!(
        gateway.change("/keys/team/disable?pool=a").await.status,
        404
    );
    assert_eq!(gateway.change("/keys/0/disable?pool=c").await.status, 404);

    assert_eq!(gateway.change("/keys/0/reinstate?pool=a").await.status, 200);
    assert_eq!(gateway.change("/keys/0/disable?pool=b").await.status, 200);
    assert_eq!(gateway.states().await, ["valid", "permanent"]);
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn metrics_show_each_pool() {
    let (gateway, _file) = two().await;

    let metrics = send(get(&gateway.admin_url("/metrics"))).await.text;

    for line in [
        "key_pool_state{pool=\"a\",state=\"permanent\"} 1",
        "key_pool_state{pool=\"b\",state=\"valid\"} 1",
    ] {
        assert!(
            metrics.lines().any(|there| there == line),
            "{line}: {metrics}"
        );
    }
}

#[tokio::test]
async fn each_route_is_logged_at_the_start() {
    let (gateway, _file) = two().await;

    gateway.prints("route=\"b\"").await;
    let printed = gateway.stderr();
    let lines: Vec<&str> = printed
        .lines()
        .filter(|line| line.contains("started"))
        .collect();
    assert_eq!(lines.len(), 2, "{printed}");
    assert!(lines[1].contains("team (sk-c...4444)"), "{printed}");
    assert!(!printed.contains("canary"), "{printed}");
}

#[cfg(feature = "serde")]
#[tokio::test]
async fn the_state_file_keeps_the_state_of_each_pool() {
    let upstream = upstream().await;
    let file = ConfigFile::new(
        &[
            "state_file = \"STATE\"\n".replace("STATE", "/dev/null"),
            route("a", "prefix = \"/a\"", &upstream.url, REVOKED),
            route("b", "prefix = \"/b\"", &upstream.url, GOOD),
        ]
        .concat(),
    );
    let state = file.directory.path("state").display().to_string();
    let text = std::fs::read_to_string(&file.path).unwrap();
    file.write(&text.replace("/dev/null", &state));
    let first = configured(&file.path).admin_token().listen().await;
    send(post(&first.url("/a"))).await;
    first.signal("TERM").await;
    assert_eq!(first.ended().await.status.code(), Some(0));

    let second = configured(&file.path).listen().await;

    assert_eq!(second.states().await, ["permanent", "valid"]);
}
