//! The admin endpoints that show keys and health.

use axum::http::Response;
use serde_json::{Value, json};

use crate::support::{
    GOOD, LIMITED, REVOKED, file, gateway, get, post, send, upstream, upstream_with,
};

#[tokio::test]
async fn the_keys_are_shown_in_the_pools_order_with_their_states() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([REVOKED, LIMITED, GOOD]);
    let gateway = gateway.args(["--admin", "127.0.0.1:0"]).listen().await;
    send(post(&gateway.url("/"))).await;

    let mut keys = gateway.keys().await;

    let wait = keys[1]["retry_after_ms"].take().as_u64().unwrap();
    assert!((1..=30_000).contains(&wait), "{wait}");
    for key in keys.as_array_mut().unwrap() {
        let ago = key["usage"]["last_used_ms_ago"].take();
        assert!(ago.as_u64().is_some_and(|ago| ago < 20_000), "{ago}");
    }
    let key = |position: usize, hint: &str, state: &str, reason: Option<&str>, served: u64| {
        let refused: Value = reason
            .map(|why| (why.to_owned(), json!(1)))
            .into_iter()
            .collect();
        json!({
            "pool": "openai", "position": position, "name": position.to_string(), "label": null, "hint": hint, "group": null, "state": state,
            "retry_after_ms": null, "suspicions": 0, "last_reason": reason, "in_flight": null, "scopes": [],
            "usage": { "picked": { "selection": 1 }, "served": served, "refused": refused, "last_used_ms_ago": null },
        })
    };
    assert_eq!(
        keys,
        json!([
            key(0, "sk-c...1111", "permanent", Some("unauthorized"), 0),
            key(1, "sk-c...2222", "temporary", Some("rate_limited"), 0),
            key(2, "sk-c...3333", "valid", None, 1),
        ])
    );
}

#[tokio::test]
async fn labels_and_groups_are_shown() {
    let upstream = upstream().await;
    let file = file(&format!(
        "team a = {GOOD}\n[org]\nme@work = {LIMITED}\n{REVOKED}\n[]\nlast = other-key-4444\n"
    ));
    let gateway = gateway("openai", &upstream.url).keys_file(&file).admin();
    let gateway = gateway.listen().await;

    let keys = gateway.keys().await;

    std::fs::remove_file(file).unwrap();
    let keys = keys.as_array().unwrap().iter();
    let shown: Vec<_> = keys
        .map(|key| [&key["name"], &key["label"], &key["group"]].map(Value::as_str))
        .collect();
    assert_eq!(
        shown,
        [
            [Some("team a"), Some("team a"), None],
            [Some("me@work"), Some("me@work"), Some("org")],
            [Some("2"), None, Some("org")],
            [Some("last"), Some("last"), None],
        ]
    );
}

#[tokio::test]
async fn the_gateway_is_healthy_until_every_key_is_permanently_marked() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([REVOKED, GOOD]);
    let gateway = gateway.admin().admin_token().listen().await;
    let health = async || send(get(&gateway.admin_url("/healthz"))).await;

    assert_eq!(health().await.status, 200);
    send(post(&gateway.url("/"))).await;
    let one_left = health().await;
    assert_eq!(
        (one_left.status, &one_left.json()["permanent"]),
        (200, &json!(1))
    );
    gateway.change("/keys/1/disable").await;

    let none_left = health().await;
    assert_eq!(none_left.status, 503);
    let counts = json!({
        "status": "every key is permanently marked", "valid": 0, "suspected": 0, "temporary": 0,
        "permanent": 2,
    });
    let mut shown = none_left.json();
    assert_eq!(shown["pools"].take(), json!({ "openai": counts }));
    shown.as_object_mut().unwrap().remove("pools");
    assert_eq!(shown, counts);
}

#[tokio::test]
async fn keys_and_health_show_a_pool_in_which_no_key_is_trusted() {
    let upstream = upstream_with(async |request| {
        let status = match request.uri().path() {
            "/odd" => 401,
            _ => 200,
        };
        Response::builder().status(status).body("".into()).unwrap()
    })
    .await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.admin().listen().await;
    let health = async || send(get(&gateway.admin_url("/healthz"))).await;
    send(post(&gateway.url("/"))).await;

    send(post(&gateway.url("/odd"))).await;

    let key = &gateway.keys().await[0];
    assert_eq!(
        (&key["state"], &key["suspicions"]),
        (&json!("valid"), &json!(1))
    );
    let untrusted = health().await;
    assert_eq!(untrusted.status, 200);
    assert_eq!(
        untrusted.json()["pools"]["openai"],
        json!({
            "status": "no key is trusted", "valid": 1, "suspected": 1, "temporary": 0,
            "permanent": 0,
        })
    );

    send(post(&gateway.url("/"))).await;

    assert_eq!(health().await.json()["status"], "ok");
}

#[tokio::test]
async fn without_keys_of_its_own_the_gateway_is_healthy() {
    let upstream = upstream().await;
    let gateway = gateway("copilot", &upstream.url).admin().listen().await;

    assert_eq!(send(get(&gateway.admin_url("/healthz"))).await.status, 200);
}

#[tokio::test]
async fn a_port_alone_is_that_of_loopback() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.args(["--admin", "0"]).listen().await;

    assert!(
        gateway.admin.starts_with("http://127.0.0.1:"),
        "{}",
        gateway.admin
    );
}

#[tokio::test]
async fn without_keys_the_list_is_empty() {
    let upstream = upstream().await;
    let gateway = gateway("copilot", &upstream.url).args(["--admin", "127.0.0.1:0"]);
    let gateway = gateway.listen().await;

    assert_eq!(gateway.keys().await, json!([]));
}

#[tokio::test]
async fn the_keys_are_not_shown_where_clients_connect() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.args(["--admin", "127.0.0.1:0"]).listen().await;

    let response = send(get(&gateway.url("/keys"))).await;

    assert_eq!(response.text, "fine");
}
