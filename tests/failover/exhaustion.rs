//! The response if no key is left, and requests that pass unchanged.

use std::time::Duration;

use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use test_support::mock::{
    Body, Handle, key_of, layer, pool, request, response, response_with, stack,
};
use test_support::policy::TestPolicy;
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower_key_failover::pool::KeyState;
use tower_key_failover::{Attempt, FailoverInfo, KeyFailoverLayer, Outcome, Replay, ResponseBody};

/// Runs one request against these responses, and returns the keys that were used.
async fn run(
    layer: &KeyFailoverLayer<TestPolicy>,
    request: Request<Body>,
    answers: impl IntoIterator<Item = http::Response<Body>>,
) -> (Vec<String>, http::Response<ResponseBody<Body>>) {
    let (mut service, mut handle) = stack(layer);
    assert_ready_ok!(service.poll_ready());
    let mut future = task::spawn(service.call(request));
    let mut seen = Vec::new();
    for answer in answers {
        assert_pending!(future.poll());
        let (sent, reply) = handle.next_request().await.unwrap();
        seen.push(key_of(&sent).to_owned());
        reply.send_response(answer);
    }
    (seen, assert_ready_ok!(future.poll()))
}

async fn text(response: http::Response<ResponseBody<Body>>) -> bytes::Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

fn wait(seconds: &'static str) -> http::Response<Body> {
    response_with(429, &[("retry-after", seconds)], "")
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_response_names_the_soonest_recovery() {
    let pool = pool(["k0", "k1", "k2"]);
    let (seen, response) = run(
        &layer(&pool),
        request(""),
        [wait("5"), wait("3"), wait("10")],
    )
    .await;
    assert_eq!(seen, ["k0", "k1", "k2"]);
    assert_eq!(
        (response.status(), &response.headers()["retry-after"]),
        (429.try_into().unwrap(), &"3".parse().unwrap())
    );
    let info = response.body().failover().unwrap();
    assert_eq!((info.attempts(), info.outcome()), (3, Outcome::Exhausted));
    assert!(response.extensions().get::<FailoverInfo>().is_some());
}

#[tokio::test(start_paused = true)]
async fn with_no_usable_key_the_inner_service_is_not_called() {
    let pool = pool(["k0", "k1"]);
    for key in pool.keys() {
        key.mark_permanent();
    }
    let (seen, response) = run(&layer(&pool), request(""), []).await;
    assert_eq!((seen.len(), response.status().as_u16()), (0, 502));
    assert_eq!(response.headers().get("retry-after"), None);
    let info = response.body().failover().unwrap();
    assert_eq!((info.attempts(), info.hint()), (0, None));
}

#[tokio::test(start_paused = true)]
async fn disabled_keys_are_not_reported_as_refused_ones() {
    let pool = pool(["k0", "k1"]);
    pool.disable(0).unwrap();
    pool.disable(1).unwrap();
    let (seen, none) = run(&layer(&pool), request(""), []).await;
    assert_eq!((seen.len(), none.status().as_u16()), (0, 502));
    assert_eq!(text(none).await, "all configured keys are disabled");

    pool.reinstate(0).unwrap();
    let (_, refused) = run(&layer(&pool), request(""), [response(401)]).await;
    assert_eq!(
        text(refused).await,
        "all configured keys failed authentication"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_that_used_up_its_attempts_may_be_retried_at_once() {
    let pool = pool(["k0", "k1", "k2"]);
    let layer = layer(&pool).max_attempts(2);
    let (seen, response) = run(&layer, request(""), [wait("5"), response(401)]).await;
    assert_eq!(seen, ["k0", "k1"]);
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers().get("retry-after"), None);
}

#[test]
#[should_panic = "`max_attempts` must be at least 1"]
fn zero_attempts_are_rejected_when_the_layer_is_built() {
    let _ = layer(&pool(["k0"])).max_attempts(0);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_recovers_during_the_last_attempt_is_not_tried() {
    let pool = pool(["k0", "k1"]);
    pool.keys()
        .nth(1)
        .unwrap()
        .mark_temporary(Some(Duration::from_secs(1)));
    let (mut service, mut handle) = stack(&layer(&pool));
    assert_ready_ok!(service.poll_ready());
    let mut future = task::spawn(service.call(request("")));
    assert_pending!(future.poll());
    let (_, reply) = handle.next_request().await.unwrap();
    tokio::time::advance(Duration::from_secs(2)).await;
    reply.send_response(wait("5"));
    let response = assert_ready_ok!(future.poll());
    assert_eq!(
        (
            response.status().as_u16(),
            response.headers().get("retry-after")
        ),
        (429, None)
    );
    assert_eq!(
        response.body().failover().unwrap().replay(),
        Replay::NotNeeded
    );
}

#[tokio::test(start_paused = true)]
async fn kept_keys_do_not_count_for_the_exhausted_response() {
    let pool = pool(["k0", "k1"]);
    let keep = response_with(403, &[("x-say", "keep")], "not here");
    let (_, response) = run(&layer(&pool), request(""), [keep, wait("7")]).await;
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "7");
    assert_eq!(pool.states()[0], KeyState::Valid);
}

#[tokio::test]
async fn a_transport_error_is_returned_at_once_and_marks_no_key() {
    let pool = pool(["k0", "k1"]);
    let (mut service, mut handle): (_, Handle) = stack(&layer(&pool));
    assert_ready_ok!(service.poll_ready());
    let mut future = task::spawn(service.call(request("")));
    assert_pending!(future.poll());
    let (_, reply) = handle.next_request().await.unwrap();
    reply.send_error("connection reset");
    assert_eq!(
        assert_ready_err!(future.poll()).to_string(),
        "connection reset"
    );
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}

#[tokio::test]
async fn a_request_with_its_own_key_makes_one_attempt_and_marks_nothing() {
    let pool = pool(["k0", "k1"]);
    let request = Request::get("/")
        .header("x-key", "theirs")
        .body(Full::default());
    let (mut service, mut handle) = stack(&layer(&pool).extensions(true));
    assert_ready_ok!(service.poll_ready());
    let mut future = task::spawn(service.call(request.unwrap()));
    assert_pending!(future.poll());
    let (sent, reply) = handle.next_request().await.unwrap();
    assert_eq!(key_of(&sent), "theirs");
    assert!(sent.body().attempt().is_none() && sent.extensions().is_empty());
    reply.send_response(response_with(401, &[("retry-after", "5")], ""));
    let response = assert_ready_ok!(future.poll());
    assert_eq!(
        (
            response.status().as_u16(),
            &response.headers()["retry-after"]
        ),
        (401, &"5".parse().unwrap())
    );
    assert!(response.body().failover().is_none() && response.extensions().is_empty());
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}

#[tokio::test]
async fn a_disabled_layer_forwards_every_request_unchanged() {
    let layer = KeyFailoverLayer::disabled(TestPolicy::default());
    let (mut service, mut handle) = stack(&layer);
    assert_ready_ok!(service.poll_ready());
    let mut future = task::spawn(service.call(request("")));
    assert_pending!(future.poll());
    let (sent, reply): (Request<tower_key_failover::RequestBody<Body>>, _) =
        handle.next_request().await.unwrap();
    assert!(sent.headers().is_empty());
    reply.send_response(response(429));
    assert_eq!(assert_ready_ok!(future.poll()).status(), 429);
}

#[tokio::test]
async fn a_connect_request_makes_a_single_attempt() {
    let pool = pool(["k0", "k1"]);
    let mut request = request("");
    *request.method_mut() = Method::CONNECT;
    let (seen, response) = run(&layer(&pool), request, [response(401)]).await;
    assert_eq!(seen, ["k0"]);
    assert_eq!(response.status(), 429);
}

#[tokio::test]
async fn each_attempt_sends_the_callers_request_and_nothing_of_an_earlier_attempt() {
    let pool = pool(["k0", "k1"]);
    let request = Request::put("http://upstream.test/a?b=c")
        .version(http::Version::HTTP_2)
        .header("x-one", "1")
        .header("x-two", "2")
        .header("x-one", "3")
        .extension("the caller's")
        .body(Full::<bytes::Bytes>::default())
        .unwrap();
    let (mut service, mut handle) = stack(&layer(&pool).extensions(true));
    assert_ready_ok!(service.poll_ready());
    let mut future = task::spawn(service.call(request));
    for number in [1, 2] {
        assert_pending!(future.poll());
        let (mut sent, reply) = handle.next_request().await.unwrap();
        assert_eq!(
            (sent.method(), sent.version()),
            (&Method::PUT, http::Version::HTTP_2)
        );
        assert_eq!(sent.uri(), "http://upstream.test/a?b=c");
        let headers: Vec<_> = sent
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        let key = if number == 1 { "k0" } else { "k1" };
        assert_eq!(
            headers,
            [
                ("x-one", "1"),
                ("x-one", "3"),
                ("x-two", "2"),
                ("x-key", key)
            ]
        );
        assert_eq!(sent.extensions().get::<&str>(), Some(&"the caller's"));
        assert_eq!(sent.extensions().get::<Attempt>().unwrap().number(), number);
        sent.extensions_mut()
            .insert("left by an attempt".to_owned());
        reply.send_response(response(if number == 1 { 401 } else { 200 }));
    }
    let response: http::Response<ResponseBody<Body>> = assert_ready_ok!(future.poll());
    assert!(response.headers().is_empty());
    assert!(response.extensions().get::<Attempt>().is_none());
}

#[tokio::test]
async fn extensions_are_set_if_enabled_or_after_a_failover() {
    for (always, refusals, expected) in [(false, 0, false), (true, 0, true), (false, 1, true)] {
        let pool = pool(["k0", "k1"]);
        let layer = layer(&pool).extensions(always);
        let answers = (0..refusals).map(|_| response(401)).chain([response(200)]);
        let (_, response) = run(&layer, request(""), answers).await;
        let info = response.extensions().get::<FailoverInfo>();
        assert_eq!(info.is_some(), expected);
        assert_eq!(response.body().failover().unwrap().attempts(), 1 + refusals);
    }
}

#[test]
fn services_and_futures_are_send_and_print_no_key() {
    fn shared<T: Clone + Send + Sync>(_: &T) {}
    fn sent<T: Send>(_: &T) {}

    let pool = pool(["sk-canary-canary-canary"]);
    let layer = layer(&pool);
    let (mut service, _handle): (_, Handle) = stack(&layer);
    shared(&layer);
    shared(service.get_ref());
    assert_ready_ok!(service.poll_ready());
    let future = service.call(request("canary"));
    sent(&future);
    let printed = format!("{layer:?} {:?} {future:?}", service.get_ref());
    assert!(printed.contains("sk-c...nary"), "{printed}");
    assert!(!printed.contains("sk-canary"), "{printed}");
}
