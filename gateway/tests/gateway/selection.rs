//! Which key a request uses.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::Response;
use tokio::sync::Semaphore;

use crate::support::{
    GOOD, Gateway, LIMITED, Upstream, configured, file, gateway, post, send, until, upstream,
    upstream_with, with,
};

const ONE: &str = "sk-canary-one-11111111";
const TWO: &str = "sk-canary-two-22222222";
const THREE: &str = "sk-canary-three-33333333";

async fn start<const N: usize>(keys: &str, flags: [&str; N]) -> (Upstream, Gateway) {
    let upstream = upstream().await;
    let file = file(keys);
    let gateway = gateway("openai", &upstream.url).keys_file(&file).admin();
    let gateway = gateway.args(flags).listen().await;
    std::fs::remove_file(file).unwrap();
    (upstream, gateway)
}

/// How often each key was used for `count` requests.
async fn uses(upstream: &Upstream, gateway: &Gateway, count: usize) -> BTreeMap<String, usize> {
    for _ in 0..count {
        assert_eq!(send(post(&gateway.url("/"))).await.status, 200);
    }
    let mut uses = BTreeMap::new();
    for key in upstream.keys() {
        *uses.entry(key).or_default() += 1;
    }
    uses
}

fn times<const N: usize>(expected: [(&str, usize); N]) -> BTreeMap<String, usize> {
    let expected = expected.into_iter();
    expected.map(|(key, uses)| (key.to_owned(), uses)).collect()
}

#[tokio::test]
async fn by_default_the_first_usable_key_is_used() {
    let (upstream, gateway) = start(&format!("{ONE}\n{TWO}\n"), []).await;

    assert_eq!(uses(&upstream, &gateway, 4).await, times([(ONE, 4)]));
}

#[tokio::test]
async fn round_robin_uses_the_keys_in_turn() {
    let keys = format!("{ONE} weight=5\n{TWO}\n{THREE}\n");
    let (upstream, gateway) = start(&keys, ["--selection", "round-robin"]).await;

    let expected = times([(ONE, 4), (TWO, 4), (THREE, 4)]);
    assert_eq!(uses(&upstream, &gateway, 12).await, expected);
}

#[tokio::test]
async fn weighted_uses_the_keys_in_proportion_to_their_weights() {
    let keys = format!("one = {ONE} weight=3 # the larger plan\n{TWO} weight=1\n");
    let (upstream, gateway) = start(&keys, ["--selection", "weighted"]).await;

    assert_eq!(
        uses(&upstream, &gateway, 16).await,
        times([(ONE, 12), (TWO, 4)])
    );
    assert_eq!(gateway.keys().await[0]["label"], "one");
}

#[tokio::test]
async fn a_key_of_the_second_tier_is_used_only_if_no_other_is_usable() {
    let keys = format!("{ONE} tier=2\n{LIMITED}\n{GOOD}\n");
    let (upstream, gateway) = start(&keys, ["--cooldown", "60s"]).await;

    assert_eq!(send(post(&gateway.url("/"))).await.status, 200);
    assert_eq!(upstream.keys(), [LIMITED, GOOD]);
}

#[tokio::test]
async fn a_key_at_its_cap_leaves_requests_to_the_next_key() {
    let gate = Arc::new(Semaphore::new(0));
    let closed = Arc::clone(&gate);
    let upstream = upstream_with(move |_| {
        let gate = Arc::clone(&closed);
        async move {
            gate.acquire().await.unwrap().forget();
            Response::new("fine".into())
        }
    })
    .await;
    let file = file(&format!("{ONE} max-in-flight=2\n{TWO}\n"));
    let gateway = gateway("openai", &upstream.url).keys_file(&file).admin();
    let gateway = Arc::new(gateway.listen().await);
    std::fs::remove_file(file).unwrap();

    let mut requests = tokio::task::JoinSet::new();
    for count in 1..=3 {
        let url = gateway.url("/");
        requests.spawn(async move { send(post(&url)).await.status });
        until(async || upstream.keys().len() == count).await;
    }
    assert_eq!(upstream.keys(), [ONE, ONE, TWO]);
    assert_eq!(gateway.keys().await[0]["in_flight"], 2);
    gate.add_permits(3);
    while let Some(status) = requests.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }

    until(async || gateway.keys().await[0]["in_flight"] == 0).await;
}

#[tokio::test]
async fn requests_of_a_session_use_the_same_key() {
    let keys = format!("a = {ONE}\nb = {TWO}\nc = {THREE}\n");
    let (upstream, gateway) = start(&keys, ["--affinity", "header:x-session"]).await;

    let mut all = BTreeMap::new();
    for session in 0..12 {
        for _ in 0..3 {
            let request = with(post(&gateway.url("/")), "x-session", &session.to_string());
            assert_eq!(send(request).await.status, 200);
        }
        let keys = upstream.keys();
        let mut of_session = keys[keys.len() - 3..].to_vec();
        of_session.dedup();
        assert_eq!(of_session.len(), 1, "{keys:?}");
        *all.entry(of_session.remove(0)).or_insert(0) += 1;
    }

    assert_eq!(all.len(), 3, "{all:?}");
}

#[tokio::test]
async fn selection_can_be_set_in_the_configuration_file() {
    let upstream = upstream().await;
    let config = file(&format!(
        "listen = \"127.0.0.1:0\"\n[routes.a]\nprovider = \"openai\"\nupstream = \"{}\"\n\
         selection = \"weighted\"\naffinity = \"header:x-session\"\nscope = \"header:x-model\"\n\
         keys = [\"{ONE} weight=2\", \"{TWO}\"]\n",
        upstream.url
    ));
    let gateway = configured(&config).listen().await;
    std::fs::remove_file(config).unwrap();

    assert_eq!(
        uses(&upstream, &gateway, 9).await,
        times([(ONE, 6), (TWO, 3)])
    );
}

#[tokio::test]
async fn bad_selections_are_rejected_in_one_line() {
    for (flag, value, expected) in [
        ("--selection", "random", "expected in-order"),
        ("--selection", "round_robin", "did you mean round-robin?"),
        ("--affinity", "x-session", "expected header:NAME"),
        ("--affinity", "header:a b", "expected header:NAME"),
        ("--scope", "model", "expected auto, off or header:NAME"),
    ] {
        let gateway = gateway("openai", "http://127.0.0.1:9").keys([GOOD]);
        let line = gateway.args([flag, value]).refused().await;
        assert!(line.contains(flag) && line.contains(expected), "{line}");
    }
}

#[tokio::test]
async fn bad_options_of_a_key_are_rejected_with_their_line_and_no_key() {
    for (options, expected) in [
        ("weight=0", "weight is a number from 1 to 1000"),
        ("weight=1001", "weight is a number from 1 to 1000"),
        ("tier=first", "tier is a number from 1"),
        ("wieght=2", "unknown option; did you mean weight?"),
        ("sk-canary-other", "a key contains no white space"),
        ("weight = 3", "write weight=VALUE without white space"),
        ("tier=1 tier=2", "tier is given twice"),
    ] {
        let file = file(&format!("{ONE}\n{TWO} {options}\n"));
        let gateway = gateway("openai", "http://127.0.0.1:9").keys_file(&file);
        let line = gateway.refused().await;
        std::fs::remove_file(&file).unwrap();
        assert!(line.contains(&format!("line 2: {expected}")), "{line}");
        assert!(!line.contains("canary"), "{line}");
    }
}

/// An upstream that limits `slow-model` for each key. The model is in a header of the request.
async fn limiting_one_model() -> Upstream {
    upstream_with(async |request| {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let is_slow = head
            .headers
            .get("x-model")
            .is_some_and(|it| it == "slow-model")
            || body.windows(10).any(|part| part == b"slow-model");
        let response = Response::builder();
        let response = match is_slow {
            true => response.status(429).header("retry-after", "30"),
            false => response,
        };
        response.body(body.into()).unwrap()
    })
    .await
}

fn about(gateway: &Gateway, model: &str) -> axum::http::Request<axum::body::Body> {
    let mut request = post(&gateway.url("/v1/responses"));
    *request.body_mut() = format!("{{\"stream\":true,\"model\":\"{model}\"}}").into();
    with(request, "content-type", "application/json")
}

#[tokio::test]
async fn a_rate_limit_of_a_model_in_the_body_leaves_the_key_to_other_models() {
    let upstream = limiting_one_model().await;
    let gateway = gateway("openai", &upstream.url).keys([ONE]).admin();
    let gateway = gateway.listen().await;

    assert_eq!(send(about(&gateway, "slow-model")).await.status, 429);
    assert_eq!(send(about(&gateway, "slow-model")).await.status, 429);
    let other = send(about(&gateway, "fast-model")).await;

    assert_eq!(other.status, 200);
    assert_eq!(other.text, "{\"stream\":true,\"model\":\"fast-model\"}");
    // The second request was not sent.
    assert_eq!(upstream.keys().len(), 2);
    let key = &gateway.keys().await[0];
    assert_eq!(key["state"], "valid");
    let scope = &key["scopes"][0];
    assert_eq!(
        (&scope["scope"], &scope["state"], &scope["last_reason"]),
        (
            &"slow-model".into(),
            &"temporary".into(),
            &"rate_limited".into()
        )
    );
    assert!(
        scope["retry_after_ms"]
            .as_u64()
            .is_some_and(|wait| wait <= 30_000)
    );
}

#[tokio::test]
async fn a_header_can_name_the_scope() {
    let upstream = limiting_one_model().await;
    let gateway = gateway("openai", &upstream.url).keys([ONE]).admin();
    let gateway = gateway.args(["--scope", "header:x-model"]).listen().await;
    let ask = async |model: &str| {
        let request = with(post(&gateway.url("/")), "x-model", model);
        send(request).await.status
    };

    assert_eq!(ask("slow-model").await, 429);
    assert_eq!(ask("fast-model").await, 200);

    assert_eq!(gateway.keys().await[0]["scopes"][0]["scope"], "slow-model");
}

#[tokio::test]
async fn without_scopes_a_rate_limit_applies_to_the_key() {
    let upstream = limiting_one_model().await;
    let gateway = gateway("openai", &upstream.url).keys([ONE]).admin();
    let gateway = gateway.args(["--scope", "off"]).listen().await;

    assert_eq!(send(about(&gateway, "slow-model")).await.status, 429);
    assert_eq!(send(about(&gateway, "fast-model")).await.status, 429);

    assert_eq!(gateway.states().await, ["temporary"]);
    assert_eq!(gateway.keys().await[0]["scopes"], serde_json::json!([]));
}
