//! What refusals do to keys, if the settings change it.

use axum::http::Response;

use crate::config::{ConfigFile, route};
use crate::support::{GOOD, Gateway, Upstream, configured, gateway, post, send, upstream_with};

const REFUSED: &str = "sk-canary-refused-44444444";

/// An upstream that refuses [`REFUSED`] with this response.
async fn refusing(status: u16, body: &'static str) -> Upstream {
    upstream_with(move |request| {
        let is_refused = request.headers()["authorization"] == format!("Bearer {REFUSED}").as_str();
        async move {
            match is_refused {
                true => Response::builder()
                    .status(status)
                    .header("content-type", "application/json")
                    .body(body.into())
                    .unwrap(),
                false => Response::new("fine".into()),
            }
        }
    })
    .await
}

/// The status that a client receives.
async fn status(gateway: &Gateway) -> u16 {
    send(post(&gateway.url("/"))).await.status
}

#[tokio::test]
async fn the_flags_say_what_a_401_and_a_403_do_to_their_key() {
    for (refusal, flag, what, received, state) in [
        (401, "--on-unauthorized", "permanent", 200, "permanent"),
        (401, "--on-unauthorized", "temporary", 200, "temporary"),
        (401, "--on-unauthorized", "30s", 200, "temporary"),
        (401, "--on-unauthorized", "keep", 200, "valid"),
        (401, "--on-unauthorized", "forward", 401, "valid"),
        (401, "--on-forbidden", "forward", 200, "permanent"),
        (403, "--on-forbidden", "permanent", 200, "permanent"),
        (403, "--on-forbidden", "30s", 200, "temporary"),
        (403, "--on-forbidden", "forward", 403, "valid"),
    ] {
        let upstream = refusing(refusal, "").await;
        let gateway = gateway("openai", &upstream.url).keys([REFUSED, GOOD]);
        let gateway = gateway.args([flag, what]).admin().listen().await;

        assert_eq!(status(&gateway).await, received, "{flag} {what}");

        assert_eq!(gateway.states().await, [state, "valid"], "{flag} {what}");
    }
}

#[tokio::test]
async fn each_route_has_its_own_answer_to_refusals() {
    let upstream = refusing(401, "").await;
    let routes = [
        route(
            "a",
            "prefix = \"/a\"\non_unauthorized = \"forward\"",
            &upstream.url,
            REFUSED,
        ),
        route("b", "prefix = \"/b\"", &upstream.url, REFUSED),
    ];
    let file = ConfigFile::new(&routes.concat());
    let gateway = configured(&file.path).listen().await;

    assert_eq!(send(post(&gateway.url("/a"))).await.status, 401);
    assert_eq!(send(post(&gateway.url("/b"))).await.status, 502);

    assert_eq!(gateway.states().await, ["valid", "permanent"]);
}

#[tokio::test]
async fn a_key_without_credit_cools_down_for_the_quota_cooldown() {
    let body = r#"{"error":{"message":"no credit","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#;
    let upstream = refusing(429, body).await;
    let gateway = gateway("openai", &upstream.url).keys([REFUSED, GOOD]);
    let gateway = gateway.args(["--quota-cooldown", "2h"]).admin();
    let gateway = gateway.listen().await;

    assert_eq!(status(&gateway).await, 200);

    let wait = gateway.keys().await[0]["retry_after_ms"].as_u64().unwrap();
    assert!((7_100_000..=7_200_000).contains(&wait), "{wait}");
}

#[tokio::test]
async fn an_unknown_answer_to_refusals_is_rejected() {
    let gateway = gateway("openai", "http://127.0.0.1:9").keys([GOOD]);
    let gateway = gateway.args(["--on-forbidden", "permanant"]);

    let line = gateway.refused().await;

    assert!(
        line.contains("--on-forbidden: did you mean permanent?"),
        "{line}"
    );
}
