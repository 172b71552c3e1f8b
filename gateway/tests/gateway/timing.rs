//! The `server-timing` header.

use axum::http::Response;

use crate::support::{
    GOOD, LIMITED, REVOKED, Received, gateway, post, send, upstream, upstream_with, with,
};

fn timing(response: &Received) -> Vec<String> {
    let values = response.headers.get_all("server-timing").into_iter();
    let entries = values.flat_map(|value| value.to_str().unwrap().split(", "));
    entries.map(str::to_owned).collect()
}

#[tokio::test]
async fn server_timing_shows_hint_status_and_time_of_each_attempt() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([REVOKED, LIMITED, GOOD]);
    let gateway = gateway.args(["--expose-failover"]).listen().await;

    let entries = timing(&send(post(&gateway.url("/"))).await);

    let begin = [
        "attempt-1;desc=\"sk-c...1111 401\";dur=",
        "attempt-2;desc=\"sk-c...2222 429\";dur=",
        "attempt-3;desc=\"sk-c...3333 200\";dur=",
    ];
    assert_eq!(entries.len(), 3);
    for (entry, begin) in entries.iter().zip(begin) {
        let took = entry
            .strip_prefix(begin)
            .unwrap_or_else(|| panic!("{entry}"));
        assert!(took.parse::<f64>().is_ok(), "{entry}");
    }
    let entries = timing(&send(post(&gateway.url("/"))).await);
    assert!(
        entries.len() == 1 && entries[0].contains("sk-c...3333 200"),
        "{entries:?}"
    );
}

#[tokio::test]
async fn server_timing_shows_the_attempts_of_an_exhausted_request() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([REVOKED]);
    let gateway = gateway.args(["--expose-failover"]).listen().await;

    assert_eq!(timing(&send(post(&gateway.url("/"))).await).len(), 1);
    assert!(timing(&send(post(&gateway.url("/"))).await).is_empty());
}

#[tokio::test]
async fn the_upstreams_server_timing_is_kept() {
    let upstream = upstream_with(async |_| {
        let response = Response::builder().header("server-timing", "db;dur=5");
        response.body("fine".into()).unwrap()
    });
    let upstream = upstream.await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.args(["--expose-failover"]).listen().await;

    let entries = timing(&send(post(&gateway.url("/"))).await);

    assert_eq!(entries[0], "db;dur=5");
    assert!(entries[1].starts_with("attempt-1;"));
}

#[tokio::test]
async fn a_byok_response_gets_no_server_timing() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.args(["--expose-failover"]).listen().await;

    let request = with(post(&gateway.url("/")), "authorization", "Bearer its-own");

    assert!(timing(&send(request).await).is_empty());
}

#[tokio::test]
async fn without_the_flag_there_is_no_server_timing() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([REVOKED, GOOD]);
    let gateway = gateway.listen().await;

    assert!(timing(&send(post(&gateway.url("/"))).await).is_empty());
}

#[tokio::test]
async fn hints_are_escaped_in_server_timing() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys(["a\"\\b-0123456789-0123;e"]);
    let gateway = gateway.args(["--expose-failover"]).listen().await;

    let response = send(post(&gateway.url("/"))).await;

    let entries = response.headers["server-timing"].to_str().unwrap();
    assert!(
        entries.starts_with("attempt-1;desc=\"a??b...23;e 200\""),
        "{entries}"
    );
}
