//! The attempts, told to a client.

use axum::http::Response;

use crate::support::{
    Answer, GOOD, LIMITED, REVOKED, gateway, post, send, upstream, upstream_with, with,
};

fn timing(answer: &Answer) -> Vec<String> {
    let values = answer.headers.get_all("server-timing").into_iter();
    let entries = values.flat_map(|value| value.to_str().unwrap().split(", "));
    entries.map(str::to_owned).collect()
}

#[tokio::test]
async fn each_attempt_is_told_by_ends_status_and_time() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([REVOKED, LIMITED, GOOD]);
    let gateway = gateway.args(["--expose-failover"]).listen().await;

    let told = timing(&send(post(&gateway.url("/"))).await);

    let begin = [
        "attempt-1;desc=\"sk-c...1111 401\";dur=",
        "attempt-2;desc=\"sk-c...2222 429\";dur=",
        "attempt-3;desc=\"sk-c...3333 200\";dur=",
    ];
    assert_eq!(told.len(), 3);
    for (told, begin) in told.iter().zip(begin) {
        let took = told.strip_prefix(begin).unwrap_or_else(|| panic!("{told}"));
        assert!(took.parse::<f64>().is_ok(), "{told}");
    }
    let told = timing(&send(post(&gateway.url("/"))).await);
    assert!(
        told.len() == 1 && told[0].contains("sk-c...3333 200"),
        "{told:?}"
    );
}

#[tokio::test]
async fn the_attempts_of_a_request_that_found_no_key_are_told_too() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([REVOKED]);
    let gateway = gateway.args(["--expose-failover"]).listen().await;

    assert_eq!(timing(&send(post(&gateway.url("/"))).await).len(), 1);
    assert!(timing(&send(post(&gateway.url("/"))).await).is_empty());
}

#[tokio::test]
async fn what_the_upstream_measured_stays() {
    let upstream = upstream_with(async |_| {
        let response = Response::builder().header("server-timing", "db;dur=5");
        response.body("fine".into()).unwrap()
    });
    let upstream = upstream.await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.args(["--expose-failover"]).listen().await;

    let told = timing(&send(post(&gateway.url("/"))).await);

    assert_eq!(told[0], "db;dur=5");
    assert!(told[1].starts_with("attempt-1;"));
}

#[tokio::test]
async fn a_request_with_a_key_of_its_own_is_answered_as_it_is() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([GOOD]);
    let gateway = gateway.args(["--expose-failover"]).listen().await;

    let request = with(post(&gateway.url("/")), "authorization", "Bearer its-own");

    assert!(timing(&send(request).await).is_empty());
}

#[tokio::test]
async fn nothing_is_told_unless_it_is_asked_for() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys([REVOKED, GOOD]);
    let gateway = gateway.listen().await;

    assert!(timing(&send(post(&gateway.url("/"))).await).is_empty());
}

#[tokio::test]
async fn ends_that_cannot_stand_between_quotes_are_replaced() {
    let upstream = upstream().await;
    let gateway = gateway("openai", &upstream.url).keys(["a\"\\b-0123456789-0123;e"]);
    let gateway = gateway.args(["--expose-failover"]).listen().await;

    let answer = send(post(&gateway.url("/"))).await;

    let told = answer.headers["server-timing"].to_str().unwrap();
    assert!(
        told.starts_with("attempt-1;desc=\"a??b...23;e 200\""),
        "{told}"
    );
}
