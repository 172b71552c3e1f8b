//! Responses that succeed only with their first event or their trailers.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use tower::{Layer, ServiceExt, service_fn};
use tower_key_failover::policy::Provider;
use tower_key_failover::pool::{KeyPool, KeyState};
use tower_key_failover::{KeyFailoverLayer, ProviderPolicy};

type Frames = Vec<Result<http_body::Frame<Bytes>, Infallible>>;
type Upstream = StreamBody<
    futures_util::stream::Iter<std::vec::IntoIter<Result<http_body::Frame<Bytes>, Infallible>>>,
>;

fn data(text: &'static str) -> Result<http_body::Frame<Bytes>, Infallible> {
    Ok(http_body::Frame::data(text.into()))
}

/// Sends a request that the first key refuses with a 401 after it has succeeded once, and that the
/// second key gets `response` for. Reads the response until `frames` frames have come.
async fn send(
    policy: impl ProviderPolicy + Clone,
    content_type: &'static str,
    response: Frames,
    frames: usize,
) -> Vec<KeyState> {
    let pool = Arc::new(KeyPool::new(["k0", "k1"]).unwrap());
    let response = Arc::new(Mutex::new(Some(response)));
    let is_first = Arc::new(Mutex::new(true));
    let upstream = service_fn(move |request: Request<_>| {
        let _: &Request<tower_key_failover::RequestBody<String>> = &request;
        let key = request
            .headers()
            .values()
            .any(|value| value.as_bytes().ends_with(b"k0"));
        let builder = Response::builder();
        let (builder, body) = match (key, std::mem::take(&mut *is_first.lock().unwrap())) {
            (true, true) => (builder.header("grpc-status", "0"), Vec::new()),
            (true, false) => (builder.status(401), Vec::new()),
            (false, _) => {
                let body = response.lock().unwrap().take().unwrap();
                (builder.header("content-type", content_type), body)
            }
        };
        let body: Upstream = StreamBody::new(futures_util::stream::iter(body));
        std::future::ready(Ok::<_, Infallible>(builder.body(body).unwrap()))
    });
    let service = KeyFailoverLayer::new(policy, Arc::clone(&pool)).layer(upstream);
    let request = || {
        Request::post("http://upstream.test/")
            .body(String::new())
            .unwrap()
    };
    // Proves the first key.
    service.clone().oneshot(request()).await.unwrap();
    let mut body = service.oneshot(request()).await.unwrap().into_body();
    for _ in 0..frames {
        body.frame().await;
    }
    pool.states()
}

const CONVICTED: [KeyState; 2] = [KeyState::Permanent, KeyState::Valid];
const NOTHING: [KeyState; 2] = [KeyState::Valid; 2];

#[tokio::test]
async fn a_stream_succeeds_with_its_first_good_event() {
    let events = || {
        vec![
            data("event: message_start\n"),
            data("data: {\"type\":\"message_start\"}\n\n"),
            data("data: {}\n\n"),
        ]
    };
    let kind = "text/event-stream";
    assert_eq!(
        send(Provider::anthropic(), kind, events(), 0).await,
        NOTHING
    );
    assert_eq!(
        send(Provider::anthropic(), kind, events(), 1).await,
        NOTHING
    );
    assert_eq!(
        send(Provider::anthropic(), kind, events(), 2).await,
        CONVICTED
    );
}

#[tokio::test]
async fn a_stream_that_starts_with_an_error_is_no_success() {
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"authentication_error\",\"message\":\"no\"}}\n\n";
    let frames = vec![data(error), data("data: {}\n\n")];
    let states = send(Provider::anthropic(), "text/event-stream", frames, 3).await;
    assert_eq!(states, NOTHING);
}

#[tokio::test]
async fn a_plain_response_succeeds_with_its_head() {
    let states = send(
        Provider::anthropic(),
        "application/json",
        vec![data("{}")],
        0,
    )
    .await;
    assert_eq!(states, CONVICTED);
}

#[cfg(feature = "grpc")]
#[tokio::test]
async fn a_grpc_call_succeeds_with_its_trailers() {
    use tower_key_failover::policy::Grpc;

    let trailers = |code| {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static(code));
        vec![data("message"), Ok(http_body::Frame::trailers(trailers))]
    };
    for (code, frames, expected) in [("0", 1, NOTHING), ("0", 2, CONVICTED), ("13", 2, NOTHING)] {
        let policy = Arc::new(Grpc::new());
        let states = send(policy, "application/grpc", trailers(code), frames).await;
        assert_eq!(states, expected, "{code} after {frames}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_does_not_read_its_stream_does_not_block_a_recovered_key() {
    use std::time::Duration;
    use tokio::time::timeout;

    let pool = Arc::new(KeyPool::new(["k0"]).unwrap());
    let upstream = service_fn(|_: Request<tower_key_failover::RequestBody<String>>| {
        let response = Response::builder().header("content-type", "text/event-stream");
        let frames: Frames = vec![data("data: {}\n\n")];
        let body: Upstream = StreamBody::new(futures_util::stream::iter(frames));
        std::future::ready(Ok::<_, Infallible>(response.body(body).unwrap()))
    });
    let layer = KeyFailoverLayer::new(Provider::anthropic(), Arc::clone(&pool));
    let service = layer.wait_for_key(Duration::from_secs(10)).layer(upstream);
    let cooldown = Some(Duration::from_secs(1));
    pool.keys().next().unwrap().mark_temporary(cooldown);
    let request = || {
        Request::post("http://upstream.test/")
            .body(String::new())
            .unwrap()
    };
    // Both wait for the key, and neither reads its response.
    let both = futures_util::future::join(
        service.clone().oneshot(request()),
        service.clone().oneshot(request()),
    );
    let (first, second) = timeout(Duration::from_secs(2), both).await.unwrap();
    assert_eq!(first.unwrap().status(), 200);
    assert_eq!(second.unwrap().status(), 200);
}
