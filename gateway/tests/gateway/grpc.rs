//! gRPC with HTTP/2 on both sides.

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::support::{GOOD, LIMITED, REVOKED, TOKEN, gateway, nobody, soon, upstream_with, with};

fn call(url: &str) -> Request<Body> {
    let request = Request::post(format!("{url}/echo.Echo/Say"));
    let request = request.header("content-type", "application/grpc");
    request
        .header("te", "trailers")
        .body(Body::from("message"))
        .unwrap()
}

/// The head of the response, its message and its trailers.
async fn send(request: Request<Body>) -> (HeaderMap, String, HeaderMap) {
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let response: Response<_> = soon(client.request(request)).await.unwrap();
    assert_eq!(
        response.status(),
        200,
        "a status of HTTP would be taken for UNAVAILABLE"
    );
    let head = response.headers().clone();
    let body = soon(response.into_body().collect()).await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
    (head, text, trailers)
}

async fn echo(request: Request<Body>) -> Response<Body> {
    assert_eq!(request.version(), axum::http::Version::HTTP_2);
    assert_eq!(request.headers()["te"], "trailers");
    let message = request.into_body().collect().await.unwrap().to_bytes();
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    let body = http_body_util::Full::from(message).with_trailers(async { Some(Ok(trailers)) });
    let response = Response::builder().header("content-type", "application/grpc");
    response.body(Body::new(body)).unwrap()
}

#[tokio::test]
async fn a_grpc_call_survives_refused_keys_and_keeps_its_trailers() {
    let upstream = upstream_with(echo).await;
    let gateway = gateway("grpc", &upstream.url)
        .keys([LIMITED, REVOKED, GOOD])
        .listen()
        .await;
    let (_, message, trailers) = send(call(&gateway.url)).await;
    assert_eq!(message, "message");
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(upstream.keys(), [LIMITED, REVOKED, GOOD]);
}

#[tokio::test]
async fn a_grpc_caller_gets_a_grpc_status_if_no_key_is_left() {
    let upstream = upstream_with(echo).await;
    let gateway = gateway("grpc", &upstream.url)
        .keys([LIMITED])
        .listen()
        .await;
    let (head, _, _) = send(call(&gateway.url)).await;
    assert_eq!(head["grpc-status"], "8");
    assert!(head.contains_key("grpc-retry-pushback-ms"));
}

#[tokio::test]
async fn the_gateways_own_errors_are_grpc_statuses() {
    let (url, _socket) = nobody();
    let gateway = gateway("grpc", &url).keys([GOOD]).token().listen().await;
    let (head, _, _) = send(call(&gateway.url)).await;
    assert_eq!(head["grpc-status"], "16");
    let request = with(
        call(&gateway.url),
        "authorization",
        &format!("Bearer {TOKEN}"),
    );
    let (head, _, _) = send(request).await;
    assert_eq!(head["grpc-status"], "14");
}
