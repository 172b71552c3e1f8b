//! What an operator sees.

use serde_json::json;

use crate::support::{GOOD, LIMITED, REVOKED, gateway, get, post, send, upstream};

#[tokio::test]
async fn the_keys_are_shown_in_the_pools_order_with_their_states() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([REVOKED, LIMITED, GOOD]);
    let gateway = gateway.args(["--admin", "127.0.0.1:0"]).listen().await;
    send(post(&gateway.url("/"))).await;

    let mut keys = gateway.keys().await;

    let wait = keys[1]["retry_after_ms"].take().as_u64().unwrap();
    assert!((1..=30_000).contains(&wait), "{wait}");
    assert_eq!(
        keys,
        json!([
            { "label": null, "hint": "sk-c...1111", "state": "permanent", "retry_after_ms": null },
            { "label": null, "hint": "sk-c...2222", "state": "temporary", "retry_after_ms": null },
            { "label": null, "hint": "sk-c...3333", "state": "valid", "retry_after_ms": null },
        ])
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

    let answer = send(get(&gateway.url("/keys"))).await;

    assert_eq!(answer.text, "fine");
}
