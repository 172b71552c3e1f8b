//! Cooldowns, probes and waiting requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::Response;

use crate::support::{
    GOOD, LIMITED, REVOKED, Upstream, file, gateway, get, post, send, until, upstream,
    upstream_with,
};

const OTHER: &str = "sk-canary-other-44444444";

/// An upstream that refuses [`OTHER`] with a status and a wait, until the returned flag is set.
async fn changing(status: u16, wait: Option<&'static str>) -> (Upstream, Arc<AtomicBool>) {
    let healed = Arc::new(AtomicBool::new(false));
    let is_healed = Arc::clone(&healed);
    let upstream = upstream_with(move |request| {
        let refuses = request.headers()["authorization"] == format!("Bearer {OTHER}").as_str()
            && !is_healed.load(Ordering::Relaxed);
        async move {
            let mut response = Response::builder();
            if refuses {
                response = response.status(status);
                if let Some(wait) = wait {
                    response = response.header("retry-after-ms", wait);
                }
            }
            response.body("fine".into()).unwrap()
        }
    });
    (upstream.await, healed)
}

#[tokio::test]
async fn a_permanently_marked_key_is_probed() {
    let (upstream, healed) = changing(401, None).await;
    let gateway = gateway("openai", &upstream.url).keys([OTHER, GOOD]);
    let gateway = gateway.args(["--probe-after", "50ms"]).admin();
    let gateway = gateway.listen().await;
    send(post(&gateway.url("/"))).await;
    assert_eq!(gateway.states().await, ["permanent", "valid"]);
    healed.store(true, Ordering::Relaxed);

    until(async || {
        assert_eq!(send(post(&gateway.url("/"))).await.status, 200);
        gateway.states().await == ["valid", "valid"]
    })
    .await;
}

#[tokio::test]
async fn a_request_waits_for_a_key() {
    let (upstream, healed) = changing(429, Some("300")).await;
    let gateway = gateway("openai", &upstream.url).keys([OTHER]);
    let gateway = gateway.args(["--wait-for-key", "10s"]).admin();
    let gateway = gateway.listen().await;
    healed.store(false, Ordering::Relaxed);
    let heal = async {
        until(async || !upstream.keys().is_empty()).await;
        healed.store(true, Ordering::Relaxed);
    };

    let request = post(&gateway.url("/"));
    let (response, ()) = tokio::join!(send(request), heal);

    assert_eq!(response.status, 200);
    let failovers = send(get(&gateway.admin_url("/failovers"))).await.json();
    assert!(
        failovers[0]["waited_ms"].as_u64().unwrap() > 0,
        "{failovers}"
    );
}

#[tokio::test]
async fn a_request_does_not_wait_by_default() {
    let (upstream, _) = changing(429, Some("300")).await;
    let gateway = gateway("openai", &upstream.url)
        .keys([OTHER])
        .listen()
        .await;

    assert_eq!(send(post(&gateway.url("/"))).await.status, 429);
}

#[tokio::test]
async fn the_cooldown_flags_apply() {
    let (upstream, _) = changing(429, None).await;
    let gateway = gateway("openai", &upstream.url).keys([LIMITED, OTHER, GOOD]);
    let gateway = gateway.args(["--cooldown", "5m", "--max-cooldown", "10s"]);
    let gateway = gateway.admin();
    let gateway = gateway.listen().await;
    send(post(&gateway.url("/"))).await;

    for key in &gateway.keys().await.as_array().unwrap()[..2] {
        let wait = key["retry_after_ms"].as_u64().unwrap();
        assert!((1..=10_000).contains(&wait), "{wait}");
    }
}

#[tokio::test]
async fn a_client_whose_requests_are_refused_marks_no_key() {
    let upstream =
        upstream_with(async |_| Response::builder().status(403).body("".into()).unwrap());
    let upstream = upstream.await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD, OTHER, "a-third-key-55555555"]);
    let gateway = gateway.admin().listen().await;

    send(post(&gateway.url("/"))).await;

    assert_eq!(gateway.states().await, ["valid", "valid", "valid"]);
}

#[tokio::test]
async fn the_keys_of_a_group_cool_down_together() {
    let upstream = upstream().await;
    let file = file(&format!("[org]\n{LIMITED}\n{OTHER}\n[]\n{GOOD}\n"));
    let gateway = gateway("openai", &upstream.url).keys_file(&file).admin();
    let gateway = gateway.listen().await;
    std::fs::remove_file(file).unwrap();

    send(post(&gateway.url("/"))).await;

    assert_eq!(upstream.keys(), [LIMITED, GOOD]);
    assert_eq!(gateway.states().await, ["temporary", "temporary", "valid"]);
}

#[tokio::test]
async fn by_default_the_first_cooldown_without_a_named_wait_is_one_second() {
    let (upstream, _) = changing(429, None).await;
    let gateway = gateway("openai", &upstream.url).keys([OTHER, GOOD]);
    let gateway = gateway.admin().listen().await;

    send(post(&gateway.url("/"))).await;

    let wait = gateway.keys().await[0]["retry_after_ms"].as_u64();
    assert!(wait.is_none_or(|wait| wait <= 1_000), "{wait:?}");
}

#[tokio::test]
async fn with_a_single_time_each_cooldown_takes_that_time() {
    let (upstream, _) = changing(429, None).await;
    let gateway = gateway("openai", &upstream.url).keys([OTHER, GOOD]);
    let gateway = gateway.args(["--cooldown", "60s"]).admin().listen().await;

    send(post(&gateway.url("/"))).await;

    let wait = gateway.keys().await[0]["retry_after_ms"].as_u64().unwrap();
    assert!((30_000..=60_000).contains(&wait), "{wait}");
}

#[tokio::test]
async fn an_invalid_cooldown_is_rejected() {
    for cooldown in ["60", "60s..1s", "0..1m", "1s..", "1s-60s"] {
        let gateway = gateway("openai", "http://127.0.0.1:9").keys([REVOKED]);
        let line = gateway.args(["--cooldown", cooldown]).refused().await;
        assert!(line.contains("--cooldown"), "{line}");
    }
}

#[tokio::test]
async fn an_invalid_time_is_rejected() {
    for time in [
        "10",
        "m",
        "-1s",
        "1.5h",
        "1w",
        "99999999999999999999s",
        "999999999999999999d",
    ] {
        let gateway = gateway("openai", "http://127.0.0.1:9").keys([REVOKED]);
        let time = format!("--probe-after={time}");
        let line = gateway.args([&time]).refused().await;
        assert!(line.contains("--probe-after"), "{line}");
    }
}
