//! Errors inside a 200: a stream whose first event says that the key is out, over hyper.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body as Stream;
use axum::routing::post;
use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::watch;
use tower::{Layer, ServiceExt};
use tower_key_failover::policy::Provider;
use tower_key_failover::pool::KeyState;
use tower_key_failover::{KeyFailoverLayer, KeyPool, ResponseBody};

use crate::support::{Body, client, pool, serve, text, within};

const REFUSAL: &str =
    "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\"}}\n\n";
const FIRST: &str = "event: message_start\ndata: {\"type\":\"message_start\"}\n\n";
const LAST: &str = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

/// Begins a stream with a refusal for the key `first`, and with a good event for others; the last
/// event comes when the test says so.
async fn upstream() -> (String, watch::Sender<bool>) {
    let (tell, told) = watch::channel(false);
    let respond = async move |headers: HeaderMap| {
        let begin = match headers["x-api-key"] == "first" {
            true => REFUSAL,
            false => FIRST,
        };
        let mut told = told.clone();
        let last = async move {
            told.wait_for(|told| *told).await.unwrap();
            Ok(LAST)
        };
        let begin = futures_util::stream::iter([Ok::<_, Infallible>(begin)]);
        let last = futures_util::stream::once(last);
        let events = futures_util::StreamExt::chain(begin, last);
        let response = Response::builder().header("content-type", "text/event-stream");
        response.body(Stream::from_stream(events)).unwrap()
    };
    let (address, _) = serve(Router::new().route("/v1/messages", post(respond))).await;
    (format!("http://{address}/v1/messages"), tell)
}

async fn send(layer: &KeyFailoverLayer<Provider>, url: &str) -> Response<ResponseBody<Incoming>> {
    let request = Request::post(url).body(Body::default()).unwrap();
    let response = layer.layer(client()).oneshot(request);
    within(response).await.unwrap()
}

fn anthropic(pool: &Arc<KeyPool>) -> KeyFailoverLayer<Provider> {
    KeyFailoverLayer::new(Provider::anthropic(), Arc::clone(pool))
}

async fn next(body: &mut ResponseBody<Incoming>) -> String {
    let frame = within(body.frame()).await.unwrap().unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn behind_a_commit_gate_the_stream_of_the_next_key_reaches_the_caller_as_it_arrives() {
    let (url, tell) = upstream().await;
    let pool = pool(["first", "second"]);
    let layer = anthropic(&pool).commit_gate(16 << 10, Duration::from_secs(10));
    let mut response = send(&layer, &url).await;
    assert_eq!(response.body().failover().unwrap().attempts(), 2);
    assert_eq!(
        next(response.body_mut()).await,
        FIRST,
        "before the stream has ended"
    );
    tell.send_replace(true);
    assert_eq!(text(response.into_body()).await, LAST);
    assert!(matches!(
        pool.states()[..],
        [KeyState::Temporary { .. }, KeyState::Valid]
    ));
}

#[tokio::test]
async fn without_a_commit_gate_a_stream_is_forwarded_unchanged() {
    let (url, tell) = upstream().await;
    let pool = pool(["first", "second"]);
    let response = send(&anthropic(&pool), &url).await;
    tell.send_replace(true);
    assert_eq!(text(response.into_body()).await, format!("{REFUSAL}{LAST}"));
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}
