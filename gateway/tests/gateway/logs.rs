//! What the gateway logs to stderr.

use serde_json::Value;

use crate::support::{
    GOOD, Gateway, LIMITED, REVOKED, Start, file, gateway, get, post, send, upstream, with,
};

fn lines(gateway: &Gateway, what: &str) -> Vec<String> {
    let printed = gateway.stderr();
    let lines = printed.lines().filter(|line| line.contains(what));
    lines.map(str::to_owned).collect()
}

fn start(upstream: &str, keys: &str) -> (Start, std::path::PathBuf) {
    let file = file(keys);
    let start = gateway("anthropic", upstream).keys_file(&file);
    (start.admin().admin_token(), file)
}

#[tokio::test]
async fn the_start_is_summarized_with_keys_by_label_and_hint() {
    let (start, file) = start(
        "https://api.example/base",
        &format!("a = {GOOD}\n{LIMITED}\n"),
    );
    let gateway = start.listen().await;
    gateway.prints("started").await;

    let printed = gateway.stderr();
    std::fs::remove_file(file).unwrap();

    assert_eq!(printed.lines().count(), 1, "{printed}");
    for part in [
        "INFO gateway: started",
        "provider=\"anthropic\"",
        "upstream=https://api.example/base",
        "a (sk-c...3333), sk-c...2222",
        "admin, admin token, keys file",
        env!("CARGO_PKG_VERSION"),
    ] {
        assert!(printed.contains(part), "{part}: {printed}");
    }
}

#[tokio::test]
async fn marks_returns_and_exhaustion_are_one_line_each() {
    let upstream = upstream().await;
    let (start, file) = start(&upstream.url, &format!("a = {REVOKED}\nb = {LIMITED}\n"));
    let gateway = start.listen().await;
    std::fs::remove_file(file).unwrap();

    assert_eq!(send(post(&gateway.url("/"))).await.status, 429);
    gateway.change("/keys/b/reinstate").await;
    gateway.prints("key returned to service").await;

    let permanent = lines(&gateway, "key marked permanent");
    assert_eq!(permanent.len(), 1);
    assert!(permanent[0].contains("key.label=\"a\""), "{permanent:?}");
    assert!(
        permanent[0].contains("key.hint=\"sk-c...1111\""),
        "{permanent:?}"
    );
    let temporary = lines(&gateway, "key marked temporary");
    assert_eq!(temporary.len(), 1);
    assert!(temporary[0].contains("cooldown=30s"), "{temporary:?}");
    assert_eq!(lines(&gateway, "key pool exhausted").len(), 1);
    let returned = lines(&gateway, "key returned to service");
    assert_eq!(returned.len(), 1);
    assert!(returned[0].contains("by=\"operator\""), "{returned:?}");
}

#[tokio::test]
async fn with_json_each_line_is_an_object() {
    let upstream = upstream().await;
    let gateway = gateway("anthropic", &upstream.url).keys([REVOKED, GOOD]);
    let gateway = gateway.args(["--log", "json"]).listen().await;

    send(post(&gateway.url("/"))).await;
    gateway.prints("key marked permanent").await;

    let printed = gateway.stderr();
    let objects = printed.lines().map(serde_json::from_str::<Value>);
    let objects: Vec<Value> = objects.collect::<Result<_, _>>().unwrap();
    assert_eq!(objects[0]["message"], "started");
    assert_eq!(objects[0]["provider"], "anthropic");
    assert_eq!(objects[1]["message"], "key marked permanent");
    assert_eq!(objects[1]["key.hint"], "sk-c...1111");
    assert_eq!(objects[1]["level"], "WARN");
}

#[tokio::test]
async fn with_log_off_nothing_is_printed() {
    let upstream = upstream().await;
    let gateway = gateway("anthropic", &upstream.url).keys([REVOKED]);
    let gateway = gateway.args(["--log", "off"]).listen().await;

    send(post(&gateway.url("/"))).await;
    gateway.signal("TERM").await;

    assert_eq!(gateway.ended().await.stderr, "");
}

#[tokio::test]
async fn a_placeholder_key_is_reported_once() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]).listen().await;

    for key in ["sk-own", "dummy", "sk-xxx", "dummy"] {
        let request = post(&gateway.url("/"));
        send(with(request, "authorization", &format!("Bearer {key}"))).await;
    }
    gateway.prints("placeholder").await;
    gateway.signal("TERM").await;

    let printed = gateway.ended().await.stderr;
    assert_eq!(printed.matches("placeholder").count(), 1, "{printed}");
    assert!(printed.contains("--byok never"), "{printed}");
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn requests_with_their_own_key_are_counted() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.admin().listen().await;

    send(post(&gateway.url("/"))).await;
    for _ in 0..2 {
        send(with(
            post(&gateway.url("/")),
            "authorization",
            "Bearer sk-own",
        ))
        .await;
    }

    let metrics = send(get(&gateway.admin_url("/metrics"))).await.text;
    assert!(
        metrics.contains("\ngateway_byok_requests_total 2\n"),
        "{metrics}"
    );
}
