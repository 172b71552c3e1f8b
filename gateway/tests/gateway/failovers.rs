//! The list of failovers for operators.

use serde_json::{Value, json};

use crate::support::{GOOD, Gateway, LIMITED, REVOKED, file, gateway, get, post, send, upstream};

async fn failovers(gateway: &Gateway) -> Value {
    send(get(&gateway.admin_url("/failovers"))).await.json()
}

#[tokio::test]
async fn a_failover_shows_each_attempt_and_not_the_query() {
    let upstream = upstream().await;
    let file = file(&format!("first = {REVOKED}\n{LIMITED}\n{GOOD}\n"));
    let gateway = gateway("openai", &upstream.url).keys_file(&file).admin();
    let gateway = gateway.listen().await;
    std::fs::remove_file(file).unwrap();
    send(post(&gateway.url("/v1/responses?key=secret"))).await;

    let mut shown = failovers(&gateway).await;

    assert!(shown[0]["time_ms"].take().as_u64() > Some(1_700_000_000_000));
    for attempt in shown[0]["attempts"].as_array_mut().unwrap() {
        assert!(attempt["took_ms"].take().is_u64());
    }
    let attempt = |label: Value, hint: &str, status: u16, verdict: &str, reason: Value| {
        json!({
            "label": label, "hint": hint, "status": status, "verdict": verdict, "reason": reason,
            "took_ms": null,
        })
    };
    assert_eq!(
        shown,
        json!([{
            "time_ms": null,
            "route": "openai",
            "method": "POST",
            "path": "/v1/responses",
            "status": 200,
            "outcome": "forwarded",
            "replay": "not_needed",
            "waited_ms": 0,
            "attempts": [
                attempt(json!("first"), "sk-c...1111", 401, "permanent", json!("unauthorized")),
                attempt(json!(null), "sk-c...2222", 429, "temporary", json!("rate_limited")),
                attempt(json!(null), "sk-c...3333", 200, "forward", json!(null)),
            ],
        }])
    );
}

#[tokio::test]
async fn a_request_that_succeeds_at_once_is_no_failover() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).admin();
    let gateway = gateway.listen().await;
    send(post(&gateway.url("/"))).await;

    assert_eq!(failovers(&gateway).await, json!([]));
}

#[tokio::test]
async fn the_last_fifty_failovers_are_kept_latest_first() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([REVOKED]).admin();
    let gateway = gateway.listen().await;
    for number in 0..60 {
        send(post(&gateway.url(&format!("/{number}")))).await;
    }

    let shown = failovers(&gateway).await;

    let shown = shown.as_array().unwrap();
    assert_eq!(shown.len(), 50);
    assert_eq!(
        (&shown[0]["path"], &shown[49]["path"]),
        (&json!("/59"), &json!("/10"))
    );
    assert_eq!(
        (&shown[0]["outcome"], &shown[0]["attempts"]),
        (&json!("exhausted"), &json!([]))
    );
}

#[tokio::test]
async fn a_long_path_is_truncated() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([REVOKED]).admin();
    let gateway = gateway.listen().await;
    send(post(&gateway.url(&format!("/{}", "x".repeat(5_000))))).await;

    let shown = failovers(&gateway).await;

    assert_eq!(shown[0]["path"].as_str().unwrap().chars().count(), 201);
}
