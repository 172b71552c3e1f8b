//! Access to the admin listener.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::Instant;

use crate::support::{
    ADMIN_TOKEN, GOOD, Gateway, Start, TOKEN, as_operator, gateway, get, post, send, soon, with,
};

fn start() -> Start {
    gateway("openai", "http://127.0.0.1:9").keys([GOOD]).admin()
}

async fn status(request: Request<Body>) -> u16 {
    let response = send(request).await;
    assert!(response.text.contains("error") || response.status < 400);
    assert!(!response.headers.contains_key("access-control-allow-origin"));
    assert_eq!(response.headers["x-content-type-options"], "nosniff");
    assert!(response.headers.contains_key("content-security-policy"));
    response.status
}

async fn assert_untouched(gateway: &Gateway) {
    assert_eq!(gateway.states().await, ["valid"]);
}

#[tokio::test]
async fn without_an_admin_token_changes_are_disabled() {
    let gateway = start().listen().await;
    let path = gateway.admin_url("/keys/0/disable");

    let response = send(with(post(&path), "authorization", "Bearer ")).await;

    assert_eq!(response.status, 403);
    assert!(response.text.contains("GATEWAY_ADMIN_TOKEN"));
    assert_eq!(status(as_operator(post(&path))).await, 403);
    assert_untouched(&gateway).await;
}

#[tokio::test]
async fn a_change_without_the_admin_token_is_rejected() {
    let gateway = start().token().admin_token().listen().await;
    let path = gateway.admin_url("/keys/0/disable");

    assert_eq!(status(post(&path)).await, 401);
    for token in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        &format!("Bearer {TOKEN}"),
        &format!("Basic {ADMIN_TOKEN}"),
        &format!("Bearer {ADMIN_TOKEN}x"),
        &format!("Bearer {}", &ADMIN_TOKEN[1..]),
    ] {
        let request = with(post(&path), "authorization", token);
        assert_eq!(status(request).await, 401, "{token}");
    }
    let cookie = with(post(&path), "cookie", ADMIN_TOKEN);
    assert_eq!(status(cookie).await, 401);
    let query = format!("{path}?token={ADMIN_TOKEN}");
    assert_eq!(status(post(&query)).await, 401);
    assert_untouched(&gateway).await;
}

#[tokio::test]
async fn reading_requires_no_token() {
    let gateway = start().admin_token().listen().await;

    for path in ["/", "/keys", "/failovers", "/healthz", "/about"] {
        assert_eq!(status(get(&gateway.admin_url(path))).await, 200, "{path}");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_has_no_access() {
    let gateway = start().admin_token().listen().await;
    let port = gateway.admin.rsplit(':').next().unwrap();
    let other_name = format!("http://localhost:{port}");

    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "http://127.0.0.1:1"),
        ("origin", other_name.as_str()),
        ("origin", "null"),
        ("origin", ""),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let read = with(get(&gateway.admin_url("/keys")), name, value);
        assert_eq!(status(read).await, 403, "{name}: {value}");
        let change = as_operator(post(&gateway.admin_url("/keys/0/disable")));
        assert_eq!(
            status(with(change, name, value)).await,
            403,
            "{name}: {value}"
        );
    }
    let preflight = Request::options(gateway.admin_url("/keys/0/disable"));
    let preflight = preflight
        .header("origin", "http://evil.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization");
    assert_eq!(status(preflight.body(Body::empty()).unwrap()).await, 403);
    assert_untouched(&gateway).await;
}

#[tokio::test]
async fn the_status_page_has_access() {
    let gateway = start().admin_token().listen().await;
    let request = as_operator(post(&gateway.admin_url("/keys/0/disable")));

    let request = with(request, "origin", &gateway.admin);
    let request = with(request, "sec-fetch-site", "same-origin");

    assert_eq!(status(request).await, 200);
}

#[tokio::test]
async fn a_link_to_the_status_page_works_and_a_frame_does_not() {
    let gateway = start().listen().await;
    let visit = |dest: &str| {
        let request = with(get(&gateway.admin_url("/")), "sec-fetch-site", "cross-site");
        let request = with(request, "sec-fetch-mode", "navigate");
        with(request, "sec-fetch-dest", dest)
    };

    assert_eq!(status(visit("document")).await, 200);
    assert_eq!(status(visit("iframe")).await, 403);
    let page = send(get(&gateway.admin_url("/"))).await;
    assert_eq!(page.headers["x-frame-options"], "DENY");
}

#[tokio::test]
async fn on_loopback_the_host_must_be_local() {
    let gateway = start().admin_token().listen().await;
    let asked = |request: Request<Body>, host: &str| {
        let (mut head, body) = request.into_parts();
        head.headers.insert("host", host.parse().unwrap());
        Request::from_parts(head, body)
    };

    for host in [
        "evil.example",
        "evil.example:80",
        "localhost.evil.example",
        "10.0.0.1",
        "@",
        "",
    ] {
        let read = asked(get(&gateway.admin_url("/keys")), host);
        assert_eq!(status(read).await, 421, "{host}");
        // What a page of this origin sends.
        let change = as_operator(post(&gateway.admin_url("/keys/0/disable")));
        let change = with(asked(change, host), "sec-fetch-site", "same-origin");
        assert_eq!(status(change).await, 421, "{host}");
    }
    for host in [
        "localhost",
        "LOCALHOST:99",
        "127.0.0.1",
        "127.9.9.9:1",
        "[::1]:80",
    ] {
        let read = asked(get(&gateway.admin_url("/keys")), host);
        assert_eq!(status(read).await, 200, "{host}");
    }
    assert_untouched(&gateway).await;
}

#[tokio::test]
async fn on_a_loopback_address_that_is_written_as_ipv6_the_host_must_be_local() {
    let gateway = gateway("openai", "http://127.0.0.1:9").keys([GOOD]);
    let gateway = gateway.args(["--admin", "[::ffff:127.0.0.1]:0"]);
    let gateway = gateway.listen().await;

    for (host, expected) in [("localhost", 200), ("evil.example", 421)] {
        let mut request = get(&gateway.admin_url("/keys"));
        request.headers_mut().insert("host", host.parse().unwrap());
        assert_eq!(status(request).await, expected, "{host}");
    }
}

#[tokio::test]
async fn on_loopback_the_host_of_http_2_must_be_local() {
    let gateway = start().listen().await;
    let port = gateway.admin.rsplit(':').next().unwrap();
    let connector = HttpConnector::new_with_resolver(tower::service_fn(async |_| {
        let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        Ok::<_, std::io::Error>(std::iter::once(loopback))
    }));
    let client: Client<_, Body> = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build(connector);

    for (name, status) in [("localhost", 200), ("evil.example", 421)] {
        let response = client.request(get(&format!("http://{name}:{port}/keys")));
        assert_eq!(soon(response).await.unwrap().status(), status, "{name}");
    }
}

#[tokio::test]
async fn beyond_loopback_any_host_is_accepted() {
    let gateway = gateway("openai", "http://127.0.0.1:9").keys([GOOD]);
    let gateway = gateway.args(["--admin", "0.0.0.0:0"]).listen().await;
    let url = gateway.admin_url("/keys").replace("0.0.0.0", "127.0.0.1");
    let mut request = get(&url);
    request
        .headers_mut()
        .insert("host", "gateway.internal".parse().unwrap());

    assert_eq!(status(request).await, 200);
}

#[tokio::test]
async fn the_admin_token_must_differ_from_the_client_token() {
    let line = start()
        .token()
        .env("GATEWAY_ADMIN_TOKEN", TOKEN)
        .refused()
        .await;
    assert!(
        line.contains("GATEWAY_ADMIN_TOKEN") && !line.contains(TOKEN),
        "{line}"
    );
}

#[tokio::test]
async fn an_empty_admin_token_is_rejected() {
    let line = start().env("GATEWAY_ADMIN_TOKEN", "").refused().await;
    assert!(line.contains("GATEWAY_ADMIN_TOKEN"), "{line}");
}

#[tokio::test]
async fn wrong_admin_tokens_are_checked_one_after_the_other() {
    let gateway = start().admin_token().listen().await;
    let path = gateway.admin_url("/keys/0/disable");
    let guess = async || {
        send(with(post(&path), "authorization", "Bearer wrong"))
            .await
            .status
    };
    assert_eq!(guess().await, 401);
    let start = Instant::now();

    let statuses = futures_util::future::join_all((0..30).map(|_| guess())).await;

    let checked = statuses.iter().filter(|&&status| status == 401).count();
    let refused = statuses.iter().filter(|&&status| status == 429).count();
    assert!(checked <= 16 && checked + refused == 30, "{statuses:?}");
    let elapsed = Instant::now().saturating_duration_since(start);
    assert!(elapsed >= Duration::from_millis(250) * u32::try_from(checked).unwrap());
    assert_eq!(send(as_operator(post(&path))).await.status, 200);
}
