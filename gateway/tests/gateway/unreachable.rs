//! An upstream that cannot be reached.

use tokio::net::TcpListener;

use crate::support::{GOOD, gateway, nobody, post, send};

#[tokio::test]
async fn an_unreachable_upstream_gives_502_in_anthropics_format() {
    let (nowhere, _held) = nobody();
    let gateway = gateway("anthropic", &nowhere).keys([GOOD]).listen().await;

    let response = send(post(&gateway.url("/v1/messages"))).await;

    assert_eq!(response.status, 502);
    assert_eq!(response.json()["type"], "error");
    assert_eq!(response.json()["error"]["type"], "api_error");
}

#[tokio::test]
async fn an_unreachable_upstream_gives_502_in_openais_format() {
    let (nowhere, _held) = nobody();
    let gateway = gateway("openai", &nowhere).keys([GOOD]).listen().await;

    let response = send(post(&gateway.url("/v1/responses"))).await;

    assert_eq!(response.status, 502);
    assert_eq!(response.json()["error"]["code"], "server_error");
}

#[tokio::test]
async fn an_unreachable_upstream_marks_no_key() {
    let (nowhere, _held) = nobody();
    let gateway = gateway("openai", &nowhere).keys([GOOD]);
    let gateway = gateway.args(["--admin", "127.0.0.1:0"]).listen().await;

    send(post(&gateway.url("/"))).await;

    assert_eq!(gateway.states().await, ["valid"]);
}

#[tokio::test]
async fn an_upstream_that_closes_the_connection_gives_502() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let gateway = gateway("openai", &upstream).keys([GOOD]).listen().await;

    assert_eq!(send(post(&gateway.url("/"))).await.status, 502);
}
