//! If the head is not enough: reading the body, and forwarding it completely.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body as _, SizeHint};
use http_body_util::{BodyExt, Full};
use test_support::body::{Source, Step, chunked, source};
use test_support::mock::{Body, Handle, Inner, layer, pool, request, stack};
use test_support::policy::TestPolicy;
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower_key_failover::pool::KeyState;
use tower_key_failover::{KeyFailoverLayer, KeyPool, Outcome, ResponseBody, ResponseFuture};
use tower_test::mock::SendResponse;

struct Call {
    future: task::Spawn<ResponseFuture<Inner<Body, Source>, TestPolicy, Body, Source>>,
    handle: Handle<Body, Source>,
}

impl Call {
    fn start(pool: &Arc<KeyPool>) -> Self {
        Self::through(&layer(pool))
    }

    fn through(layer: &KeyFailoverLayer<TestPolicy>) -> Self {
        let (mut service, handle) = stack(layer);
        assert_ready_ok!(service.poll_ready());
        let future = task::spawn(service.call(request("one")));
        Self { future, handle }
    }

    async fn attempt(&mut self) -> SendResponse<Response<Source>> {
        assert_pending!(self.future.poll());
        self.handle.next_request().await.unwrap().1
    }

    fn answer(&mut self) -> Response<ResponseBody<Source>> {
        assert_ready_ok!(self.future.poll())
    }
}

fn say(what: &str, body: Source) -> Response<Source> {
    Response::builder()
        .status(400)
        .header("x-say", what)
        .body(body)
        .unwrap()
}

fn trailers(name: &'static str, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
}

fn ended(text: &'static str) -> Source {
    let (body, remote) = chunked();
    remote.data(text);
    remote.push(Step::End);
    body
}

async fn text(response: Response<ResponseBody<Source>>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test(start_paused = true)]
async fn a_body_can_turn_a_response_into_a_refusal() {
    let pool = pool(["k0", "k1"]);
    let mut call = Call::start(&pool);
    call.attempt()
        .await
        .send_response(say("inspect", ended("please refuse")));
    call.attempt()
        .await
        .send_response(say("inspect", ended("fine")));
    let response = call.answer();
    assert_eq!(response.status(), 400);
    assert_eq!(text(response).await, "fine");
    assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn an_inspected_body_may_arrive_slowly() {
    let pool = pool(["k0", "k1"]);
    let mut call = Call::start(&pool);
    let (body, remote) = chunked();
    call.attempt().await.send_response(say("inspect", body));
    assert_pending!(call.future.poll());
    remote.data("ref");
    assert!(call.future.is_woken());
    assert_pending!(call.future.poll());
    advance(Duration::from_millis(900)).await;
    remote.data("use");
    remote.push(Step::End);
    assert!(call.future.is_woken());
    let _second = call.attempt().await;
    assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn an_inspection_that_times_out_judges_what_arrived_and_forwards_everything() {
    let pool = pool(["k0", "k1"]);
    let mut call = Call::start(&pool);
    let (body, remote) = chunked();
    remote.data("fi");
    call.attempt().await.send_response(say("inspect", body));
    assert_pending!(call.future.poll());
    advance(Duration::from_millis(999)).await;
    assert_pending!(call.future.poll());
    advance(Duration::from_millis(2)).await;
    assert!(call.future.is_woken());
    let response = call.answer();
    remote.data("ne");
    remote.push(Step::Trailers(trailers("x-sum", "42")));
    remote.push(Step::End);
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers(), Some(&trailers("x-sum", "42")));
    assert_eq!(body.to_bytes(), "fine");
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}

#[tokio::test(start_paused = true)]
async fn an_endless_body_is_read_up_to_64_kib_and_no_further() {
    let pool = pool(["k0", "k1"]);
    let mut call = Call::start(&pool);
    let (body, remote) = chunked();
    for _ in 0..1_000 {
        remote.data(vec![b'x'; 1024]);
    }
    call.attempt().await.send_response(say("inspect", body));
    let response = call.answer();
    assert_eq!(remote.polls(), 64);
    remote.push(Step::End);
    assert_eq!(text(response).await.len(), 1_000 * 1024);
}

#[tokio::test(start_paused = true)]
async fn an_endless_sequence_of_empty_frames_ends_the_inspection() {
    let pool = pool(["k0", "k1"]);
    let mut call = Call::start(&pool);
    let (body, remote) = chunked();
    for _ in 0..200_000 {
        remote.data("");
    }
    call.attempt().await.send_response(say("inspect", body));
    call.answer();
    assert!(remote.polls() < 200_000);
}

#[tokio::test(start_paused = true)]
async fn a_body_error_during_inspection_is_forwarded_at_its_position() {
    let pool = pool(["k0", "k1"]);
    let mut call = Call::start(&pool);
    let (body, remote) = chunked();
    remote.data("fi");
    remote.push(Step::Error);
    call.attempt().await.send_response(say("inspect", body));
    let mut body = call.answer().into_body();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "fi"
    );
    assert!(!body.is_end_stream());
    assert_eq!(
        body.frame().await.unwrap().unwrap_err(),
        "the caller went away"
    );
    assert!(body.frame().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_inspected_body_keeps_its_size_hint() {
    let pool = pool(["k0", "k1"]);
    let mut call = Call::start(&pool);
    let (body, remote) = source(SizeHint::with_exact(4));
    remote.data("fine");
    remote.push(Step::End);
    call.attempt().await.send_response(say("inspect", body));
    let mut body = call.answer().into_body();
    assert_eq!(body.size_hint().exact(), Some(4));
    assert!(!body.is_end_stream());
    body.frame().await.unwrap().unwrap();
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(body.is_end_stream());
}

#[tokio::test]
async fn an_available_body_is_inspected_without_a_timer() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    tokio::task::spawn_blocking(move || {
        runtime.block_on(async {
            let pool = pool(["k0", "k1"]);
            let mut call = Call::start(&pool);
            call.attempt()
                .await
                .send_response(say("inspect", ended("fine")));
            assert_eq!(text(call.answer()).await, "fine");
        });
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_peek_sees_available_trailers() {
    let pool = pool(["k0", "k1"]);
    let mut call = Call::start(&pool);
    let (body, remote) = chunked();
    remote.push(Step::Trailers(trailers("grpc-status", "refuse")));
    call.attempt().await.send_response(say("peek", body));
    let _second = call.attempt().await;
    assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);
}

#[tokio::test]
async fn a_peek_never_waits_and_polls_once() {
    let pool = pool(["k0", "k1"]);
    let mut call = Call::start(&pool);
    let (body, remote) = chunked();
    call.attempt().await.send_response(say("peek", body));
    let response = call.answer();
    assert_eq!(remote.polls(), 1);
    remote.data("refuse");
    remote.push(Step::Trailers(trailers("grpc-status", "refuse")));
    remote.push(Step::End);
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers(), Some(&trailers("grpc-status", "refuse")));
    assert_eq!(body.to_bytes(), "refuse");
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}

#[tokio::test]
async fn a_peek_reads_one_frame_and_forwards_everything() {
    let pool = pool(["k0", "k1"]);
    let mut call = Call::start(&pool);
    let (body, remote) = chunked();
    remote.data("fine");
    remote.data("refuse");
    remote.push(Step::End);
    call.attempt().await.send_response(say("peek", body));
    let response = call.answer();
    assert_eq!(remote.polls(), 1);
    assert_eq!(text(response).await, "finerefuse");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_keeps_the_key_is_forwarded_if_no_other_key_is_left() {
    let pool = pool(["k0", "k1"]);
    let mut call = Call::start(&pool);
    call.attempt()
        .await
        .send_response(say("inspect", ended("keep 0")));
    call.attempt()
        .await
        .send_response(say("inspect", ended("keep 1")));
    let response = call.answer();
    assert_eq!(response.status(), 400);
    assert_eq!(
        response.body().failover().unwrap().outcome(),
        Outcome::Forwarded
    );
    assert_eq!(text(response).await, "keep 1");
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}

#[tokio::test]
async fn a_body_that_is_not_inspected_is_forwarded_as_it_is() {
    let pool = pool(["k0", "k1"]);
    let mut call = Call::start(&pool);
    let (body, remote) = source(SizeHint::with_exact(3));
    call.attempt().await.send_response(say("forward", body));
    let mut body = call.answer().into_body();
    assert_eq!(remote.polls(), 0);
    assert_eq!(body.size_hint().exact(), Some(3));
    remote.data("one");
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "one"
    );
    assert!(body.is_end_stream());
}

#[test]
fn a_default_response_body_wraps_the_default_of_the_inner_body() {
    assert!(ResponseBody::<Full<Bytes>>::default().is_end_stream());
}

fn patient(pool: &Arc<KeyPool>) -> KeyFailoverLayer<TestPolicy> {
    let peek_timeout = Duration::from_secs(3);
    KeyFailoverLayer::new(TestPolicy { peek_timeout }, Arc::clone(pool))
}

#[tokio::test(start_paused = true)]
async fn a_peek_waits_for_the_first_frame_if_the_policy_asks_for_it() {
    let pool = pool(["k0", "k1"]);
    let mut call = Call::through(&patient(&pool));
    let (body, remote) = chunked();
    call.attempt().await.send_response(say("peek", body));
    assert_pending!(call.future.poll());
    advance(Duration::from_secs(2)).await;
    remote.push(Step::Trailers(trailers("grpc-status", "refuse")));
    assert!(call.future.is_woken());
    let _second = call.attempt().await;
    assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn a_peek_that_times_out_forwards_the_response() {
    let pool = pool(["k0", "k1"]);
    let mut call = Call::through(&patient(&pool));
    let (body, remote) = chunked();
    call.attempt().await.send_response(say("peek", body));
    assert_pending!(call.future.poll());
    advance(Duration::from_millis(3_001)).await;
    let response = call.answer();
    remote.data("refuse");
    remote.push(Step::End);
    assert_eq!(text(response).await, "refuse");
}

fn stream(body: Source) -> Response<Source> {
    let response = Response::builder().header("content-type", "text/event-stream; charset=utf-8");
    response
        .header("x-may-fail-late", "yes")
        .body(body)
        .unwrap()
}

fn gated(pool: &Arc<KeyPool>) -> KeyFailoverLayer<TestPolicy> {
    layer(pool).commit_gate(40, Duration::from_secs(3))
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_first_event_is_a_refusal_fails_over() {
    let pool = pool(["k0", "k1"]);
    let mut call = Call::through(&gated(&pool));
    let (body, remote) = chunked();
    call.attempt().await.send_response(stream(body));
    remote.data(": hold on\n\nevent: error\n");
    assert_pending!(call.future.poll());
    remote.data("data: refuse\n\n");
    assert!(call.future.is_woken());
    let _second = call.attempt().await;
    assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn a_ping_a_comment_or_a_field_that_is_not_data_does_not_open_the_gate() {
    for start in [
        "event: ping\ndata: {}\n\n",
        ": comment\r\n\r\n",
        "database: x\n\n",
        "\u{feff}id: 1\r\r",
    ] {
        let pool = pool(["k0", "k1"]);
        let mut call = Call::through(&gated(&pool));
        let (body, remote) = chunked();
        call.attempt().await.send_response(stream(body));
        for byte in start.as_bytes() {
            remote.data(vec![*byte]);
            assert_pending!(call.future.poll(), "{start:?}");
        }
        remote.data("data: refuse\n\n");
        let _second = call.attempt().await;
        assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_forwarded_from_its_first_event_and_not_judged_again() {
    let pool = pool(["k0", "k1"]);
    let mut call = Call::through(&gated(&pool));
    let (body, remote) = chunked();
    call.attempt().await.send_response(stream(body));
    remote.data("data: fine\n\n");
    let response = call.answer();
    remote.data("data: refuse\n\n");
    remote.push(Step::End);
    assert_eq!(text(response).await, "data: fine\n\ndata: refuse\n\n");
    assert_eq!(pool.states(), [KeyState::Valid; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_gate_opens_when_its_size_or_time_is_used_up() {
    for out_of in ["size", "time"] {
        let pool = pool(["k0", "k1"]);
        let mut call = Call::through(&gated(&pool));
        let (body, remote) = chunked();
        remote.data("data: no end");
        call.attempt().await.send_response(stream(body));
        assert_pending!(call.future.poll());
        match out_of {
            "size" => remote.data(" is in sight within forty bytes"),
            _ => advance(Duration::from_millis(3_001)).await,
        }
        assert!(call.future.is_woken());
        call.answer();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_commit_gate_is_forwarded_unchanged() {
    let pool = pool(["k0", "k1"]);
    let unnamed = |mut response: Response<Source>| {
        response.headers_mut().remove("x-may-fail-late");
        response
    };
    let compressed = |mut response: Response<Source>| {
        let gzip = "gzip".parse().unwrap();
        response.headers_mut().insert("content-encoding", gzip);
        response
    };
    let no_stream = |mut response: Response<Source>| {
        let json = "application/json".parse().unwrap();
        response.headers_mut().insert("content-type", json);
        response
    };
    type Change = fn(Response<Source>) -> Response<Source>;
    let cases: [(_, Change); 4] = [
        (layer(&pool), |response| response),
        (gated(&pool), unnamed),
        (gated(&pool), compressed),
        (gated(&pool), no_stream),
    ];
    for (layer, change) in cases {
        let mut call = Call::through(&layer);
        let (body, remote) = chunked();
        call.attempt().await.send_response(change(stream(body)));
        call.answer();
        assert_eq!(remote.polls(), 0);
    }
}

#[tokio::test]
async fn only_the_available_part_of_a_refused_body_is_drained() {
    let pool = pool(["k0", "k1", "k2"]);
    let mut call = Call::start(&pool);
    let (body, arrived) = chunked();
    for _ in 0..3 {
        arrived.data("no");
    }
    let refused = |body| Response::builder().status(429).body(body).unwrap();
    call.attempt().await.send_response(refused(body));
    let (body, endless) = chunked();
    for _ in 0..1_000 {
        endless.data(vec![b'x'; 1024]);
    }
    call.attempt().await.send_response(refused(body));
    assert_eq!(
        arrived.polls(),
        4,
        "three frames, and there is no more to be had"
    );
    assert!(arrived.is_dropped());
    let _third = call.attempt().await;
    assert_eq!(endless.polls(), 64);
    assert!(endless.is_dropped());
}
