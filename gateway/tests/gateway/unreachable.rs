//! An upstream that does not answer.

use tokio::net::TcpListener;

use crate::support::{GOOD, gateway, nobody, post, send};

#[tokio::test]
async fn an_unreachable_upstream_gives_502_in_the_shape_of_anthropic() {
    let (nowhere, _held) = nobody();
    let gateway = gateway("anthropic", &nowhere).keys([GOOD]).listen().await;

    let answer = send(post(&gateway.url("/v1/messages"))).await;

    assert_eq!(answer.status, 502);
    assert_eq!(answer.json()["type"], "error");
    assert_eq!(answer.json()["error"]["type"], "api_error");
}

#[tokio::test]
async fn an_unreachable_upstream_gives_502_in_the_shape_of_openai() {
    let (nowhere, _held) = nobody();
    let gateway = gateway("openai", &nowhere).keys([GOOD]).listen().await;

    let answer = send(post(&gateway.url("/v1/responses"))).await;

    assert_eq!(answer.status, 502);
    assert_eq!(answer.json()["error"]["code"], "server_error");
}

#[tokio::test]
async fn an_unreachable_upstream_costs_no_key() {
    let (nowhere, _held) = nobody();
    let gateway = gateway("openai", &nowhere).keys([GOOD]);
    let gateway = gateway.args(["--admin", "127.0.0.1:0"]).listen().await;

    send(post(&gateway.url("/"))).await;

    assert_eq!(gateway.states().await, ["valid"]);
}

#[tokio::test]
async fn an_upstream_that_hangs_up_gives_502() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let gateway = gateway("openai", &upstream).keys([GOOD]).listen().await;

    assert_eq!(send(post(&gateway.url("/"))).await.status, 502);
}
