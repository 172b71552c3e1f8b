//! The body streams first and is replayed later.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::SizeHint;
use http_body_util::{Empty, Full};
use test_support::body::{Read, Reader, Source, Step, chunked, data, source};
use test_support::mock::{Body, Handle, Inner, layer, pool, response, stack};
use test_support::policy::TestPolicy;
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower_key_failover::{
    KeyFailoverLayer, Outcome, Replay, ReplayBudget, RequestBody, ResponseBody, ResponseFuture,
};
use tower_test::mock::SendResponse;

/// A call under way, and the attempts that the upstream has seen of it.
struct Call<B = Source> {
    future: task::Spawn<ResponseFuture<Inner<B>, TestPolicy, B, Body>>,
    handle: Handle<B>,
}

type Reply = SendResponse<http::Response<Body>>;

impl<B> Call<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<tower_key_failover::BoxError>,
{
    fn start(layer: &KeyFailoverLayer<TestPolicy>, body: B) -> Self {
        let (mut service, handle) = stack(layer);
        assert_ready_ok!(service.poll_ready());
        let future = task::spawn(service.call(Request::new(body)));
        Self { future, handle }
    }

    /// The next attempt.
    async fn attempt(&mut self) -> (Reader<B>, Reply) {
        assert_pending!(self.future.poll());
        let (request, reply) = self.handle.next_request().await.unwrap();
        (Reader::new(request.into_body()), reply)
    }

    /// The caller's response.
    fn response(&mut self) -> http::Response<ResponseBody<Body>> {
        assert_ready_ok!(self.future.poll())
    }
}

fn three_keys() -> KeyFailoverLayer<TestPolicy> {
    layer(&pool(["k0", "k1", "k2"]))
}

fn replay_of(response: &http::Response<ResponseBody<Body>>) -> (usize, Outcome, Replay) {
    let info = response.body().failover().unwrap();
    (info.attempts(), info.outcome(), info.replay())
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("x-sum".parse().unwrap(), "42".parse().unwrap())])
}

#[tokio::test]
async fn the_first_attempt_reads_each_frame_as_it_arrives() {
    let (body, remote) = chunked();
    let mut call = Call::start(&three_keys(), body);
    let (mut reader, _reply) = call.attempt().await;
    assert_eq!(reader.read(), Read::Pending);
    remote.data("one");
    assert!(reader.is_woken());
    assert_eq!(reader.read(), data("one"));
    assert_eq!(reader.read(), Read::Pending);
    remote.data("two");
    remote.push(Step::End);
    assert_eq!(reader.read(), data("two"));
    assert_eq!(reader.read(), Read::End);
}

#[tokio::test]
async fn a_refusal_during_an_upload_replays_the_sent_part_and_continues_with_the_source() {
    let (body, remote) = chunked();
    let mut call = Call::start(&three_keys(), body);
    let (mut first, reply) = call.attempt().await;
    remote.data("one");
    remote.data("two");
    assert_eq!(first.read(), data("one"));
    assert_eq!(first.read(), data("two"));
    assert_eq!(first.read(), Read::Pending);
    reply.send_response(response(429));

    let (mut second, reply) = call.attempt().await;
    assert_eq!(second.read(), data("one"));
    assert_eq!(second.read(), data("two"));
    assert_eq!(second.read(), Read::Pending);
    remote.data("three");
    assert!(second.is_woken());
    assert_eq!(second.read(), data("three"));
    reply.send_response(response(401));

    let (mut third, reply) = call.attempt().await;
    remote.push(Step::End);
    let mut seen = Vec::new();
    while let Read::Data(frame) = third.read() {
        seen.extend_from_slice(&frame);
    }
    assert_eq!(seen, b"onetwothree");
    reply.send_response(response(200));
    assert_eq!(call.response().status(), 200);
}

#[tokio::test]
async fn a_superseded_reader_is_woken_and_fails_without_touching_the_source() {
    let (body, remote) = chunked();
    let mut call = Call::start(&three_keys(), body);
    let (mut first, reply) = call.attempt().await;
    remote.data("one");
    assert_eq!(first.read(), data("one"));
    assert_eq!(first.read(), Read::Pending);
    let polls = remote.polls();
    reply.send_response(response(429));

    let (mut second, _reply) = call.attempt().await;
    assert!(first.is_woken());
    assert!(!first.is_end_stream());
    assert_eq!(first.hint(), (None, 0));
    for _ in 0..2 {
        assert_eq!(first.read(), Read::Superseded);
        assert!(!first.is_end_stream());
    }
    assert_eq!(remote.polls(), polls);
    assert_eq!(second.read(), data("one"));
    assert_eq!(second.read(), Read::Pending);
    assert_eq!(remote.polls(), polls + 1);
}

#[tokio::test]
async fn a_refused_attempt_reads_no_more_while_the_next_one_waits_to_be_ready() {
    let (body, remote) = chunked();
    let (mut service, handle) = stack(&three_keys().max_replay_bytes(8));
    let mut call = Call {
        handle,
        future: {
            assert_ready_ok!(service.poll_ready());
            task::spawn(service.call(Request::new(body)))
        },
    };
    call.handle.allow(1);
    let (mut first, reply) = call.attempt().await;
    remote.data("four");
    assert_eq!(first.read(), data("four"));
    call.handle.allow(0);
    reply.send_response(response(429));
    assert_pending!(call.future.poll());

    // What it read now would be more than can be sent again, and the next attempt would lack it.
    remote.data("more than that");
    assert_eq!(first.read(), Read::Superseded);
    call.handle.allow(1);
    let (mut second, _reply) = call.attempt().await;
    assert_eq!(second.read(), data("four"));
    assert_eq!(second.read(), data("more than that"));
}

#[tokio::test]
async fn a_call_that_is_cancelled_between_two_attempts_frees_everything() {
    let budget = ReplayBudget::new(1 << 20);
    let (body, remote) = chunked();
    let mut call = Call::start(&three_keys().replay_budget(budget.clone()), body);
    let (mut held, reply) = call.attempt().await;
    remote.data("one");
    assert_eq!(held.read(), data("one"));
    call.handle.allow(0);
    reply.send_response(response(429));
    assert_pending!(call.future.poll());
    assert!(budget.held() > 0);
    drop(call);
    assert_eq!(budget.held(), 0);
    assert!(
        remote.is_dropped(),
        "though the refused attempt's body is held"
    );
    assert_eq!(held.read(), Read::Superseded);
}

#[tokio::test]
async fn a_reader_that_is_superseded_before_its_first_poll_fails() {
    let (body, remote) = chunked();
    let mut call = Call::start(&three_keys(), body);
    let (mut first, reply) = call.attempt().await;
    reply.send_response(response(429));
    let (mut second, _reply) = call.attempt().await;
    assert_eq!(first.read(), Read::Superseded);
    assert_eq!(remote.polls(), 0);
    remote.data("one");
    assert_eq!(second.read(), data("one"));
}

#[tokio::test]
async fn a_frame_that_arrives_while_a_reader_is_superseded_goes_to_its_successor() {
    for step in ["data", "trailers", "end", "error", "nothing"] {
        let (body, remote) = chunked();
        let mut call = Call::start(&three_keys(), body);
        let (mut first, reply) = call.attempt().await;
        remote.data("one");
        assert_eq!(first.read(), data("one"));

        // While the first reader polls the source, its response arrives, and the second one parks.
        let call = Arc::new(Mutex::new(call));
        let second = Arc::new(Mutex::new(None));
        remote.push(Step::Meanwhile(Box::new({
            let (call, second) = (Arc::clone(&call), Arc::clone(&second));
            move || {
                let mut call = call.lock().unwrap();
                reply.send_response(response(429));
                let attempt = futures_util::FutureExt::now_or_never(call.attempt());
                let (mut reader, reply) = attempt.unwrap();
                assert_eq!(reader.read(), data("one"));
                assert_eq!(reader.read(), Read::Pending);
                assert_eq!(reader.read(), Read::Pending);
                *second.lock().unwrap() = Some((reader, reply));
            }
        })));
        match step {
            "data" => remote.data("two"),
            "trailers" => remote.push(Step::Trailers(trailers())),
            "end" => remote.push(Step::End),
            "error" => remote.push(Step::Error),
            _ => {}
        }
        assert_eq!(first.read(), Read::Superseded, "{step}");

        let (mut second, _reply) = second.lock().unwrap().take().unwrap();
        assert!(second.is_woken(), "{step}");
        let read = second.read();
        match step {
            "data" => assert_eq!(read, data("two")),
            "trailers" => {
                assert_eq!(read, Read::Trailers(trailers()));
                assert_eq!(second.read(), Read::End);
            }
            "end" => assert_eq!(read, Read::End),
            "error" => {
                let text = "the caller's request body failed: the caller went away";
                assert_eq!(read, Read::Failed(text.into()));
            }
            _ => {
                assert_eq!(read, Read::Pending);
                remote.data("two");
                assert!(second.is_woken());
                assert_eq!(second.read(), data("two"));
            }
        }
    }
}

#[tokio::test]
async fn trailers_follow_the_data_in_each_attempt() {
    let (body, remote) = chunked();
    let mut call = Call::start(&three_keys(), body);
    remote.data("one");
    remote.push(Step::Trailers(trailers()));
    for status in [429, 401, 200] {
        let (mut reader, reply) = call.attempt().await;
        assert!(!reader.is_end_stream());
        assert_eq!(reader.read(), data("one"));
        assert!(!reader.is_end_stream());
        assert_eq!(reader.read(), Read::Trailers(trailers()));
        assert!(reader.is_end_stream());
        assert_eq!(reader.read(), Read::End);
        reply.send_response(response(status));
    }
    assert!(remote.is_dropped());
}

#[tokio::test]
async fn a_body_of_trailers_alone_is_replayed() {
    let (body, remote) = chunked();
    let mut call = Call::start(&three_keys(), body);
    remote.push(Step::Trailers(trailers()));
    for status in [429, 200] {
        let (mut reader, reply) = call.attempt().await;
        assert_eq!(reader.read(), Read::Trailers(trailers()));
        assert_eq!(reader.read(), Read::End);
        reply.send_response(response(status));
    }
}

#[tokio::test]
async fn an_exact_length_stays_exact_in_each_attempt() {
    let (body, remote) = source(SizeHint::with_exact(9));
    let mut call = Call::start(&three_keys(), body);
    remote.data("one");
    remote.data("twothr");
    for status in [429, 200] {
        let (mut reader, reply) = call.attempt().await;
        assert_eq!(reader.hint(), (Some(9), 9));
        assert_eq!(reader.read(), data("one"));
        assert_eq!(reader.hint(), (Some(6), 6));
        assert!(!reader.is_end_stream());
        assert_eq!(reader.read(), data("twothr"));
        assert_eq!(reader.hint(), (Some(0), 0));
        assert!(reader.is_end_stream());
        reply.send_response(response(status));
    }
}

#[tokio::test]
async fn a_body_of_known_length_is_dropped_with_its_last_frame() {
    let (body, remote) = source(SizeHint::with_exact(3));
    let mut call = Call::start(&three_keys(), body);
    let (mut first, reply) = call.attempt().await;
    remote.data("one");
    assert_eq!(first.read(), data("one"));
    assert!(first.is_end_stream());
    assert!(remote.is_dropped());
    reply.send_response(response(429));

    let (mut second, _reply) = call.attempt().await;
    // It was whole, and stays so.
    assert_eq!(first.read(), Read::End);
    assert_eq!(second.read(), data("one"));
    assert!(second.is_end_stream());
    assert_eq!(second.read(), Read::End);
    assert_eq!(remote.polls(), 1);
}

#[tokio::test]
async fn an_unknown_length_stays_unknown_after_recording() {
    let (body, remote) = chunked();
    let mut call = Call::start(&three_keys(), body);
    remote.data("one");
    remote.push(Step::End);
    for status in [429, 200] {
        let (mut reader, reply) = call.attempt().await;
        assert_eq!(reader.hint().0, None);
        assert!(!reader.is_end_stream());
        assert_eq!(reader.read(), data("one"));
        assert_eq!(reader.read(), Read::End);
        assert!(reader.is_end_stream());
        reply.send_response(response(status));
    }
}

#[tokio::test]
async fn an_empty_body_is_at_its_end_only_if_it_reports_it() {
    let mut call = Call::start(&three_keys(), Empty::<Bytes>::new());
    for status in [429, 200] {
        let (reader, reply) = call.attempt().await;
        assert!(reader.is_end_stream());
        assert_eq!(reader.hint(), (Some(0), 0));
        reply.send_response(response(status));
    }

    let (body, remote) = chunked();
    let mut call = Call::start(&three_keys(), body);
    remote.push(Step::End);
    for status in [429, 200] {
        let (mut reader, reply) = call.attempt().await;
        assert!(!reader.is_end_stream());
        assert_eq!(reader.hint().0, None);
        assert_eq!(reader.read(), Read::End);
        assert!(reader.is_end_stream());
        reply.send_response(response(status));
    }
}

#[tokio::test]
async fn a_request_whose_body_failed_is_not_sent_again() {
    let (body, remote) = chunked();
    let mut call = Call::start(&three_keys(), body);
    let (mut reader, reply) = call.attempt().await;
    remote.data("one");
    remote.push(Step::Error);
    assert_eq!(reader.read(), data("one"));
    let text = "the caller's request body failed: the caller went away";
    assert_eq!(reader.read(), Read::Failed(text.into()));
    assert!(!reader.is_end_stream());
    assert_eq!(
        reader.read(),
        Read::Failed("the caller's request body failed".into())
    );
    reply.send_response(response(429));
    let response = call.response();
    assert_eq!(response.status(), 429);
    assert_eq!(
        replay_of(&response),
        (1, Outcome::Exhausted, Replay::BodyFailed)
    );
}

#[tokio::test]
async fn a_request_body_that_panics_never_looks_complete() {
    let (body, remote) = chunked();
    let mut call = Call::start(&three_keys(), body);
    let (mut first, reply) = call.attempt().await;
    remote.data("one");
    assert_eq!(first.read(), data("one"));
    reply.send_response(response(429));
    let (mut second, reply) = call.attempt().await;
    assert_eq!(second.read(), data("one"));
    remote.push(Step::Panic);
    assert!(catch_unwind(AssertUnwindSafe(|| second.read())).is_err());
    assert!(remote.is_dropped());
    let text = "the caller's request body panicked while an attempt read it";
    assert_eq!(second.read(), Read::Failed(text.into()));
    assert!(!second.is_end_stream());
    reply.send_response(response(429));
    assert_eq!(
        replay_of(&call.response()),
        (2, Outcome::Exhausted, Replay::BodyFailed)
    );
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_sent_again_and_one_byte_more_is_not() {
    for (more, attempts) in [(None, 2), (Some("x"), 1)] {
        let budget = ReplayBudget::new(1 << 20);
        let layer = three_keys()
            .max_replay_bytes(8)
            .replay_budget(budget.clone());
        let (body, remote) = chunked();
        let mut call = Call::start(&layer, body);
        let (mut reader, reply) = call.attempt().await;
        remote.data("four");
        remote.data("more");
        assert_eq!(reader.read(), data("four"));
        assert_eq!(reader.read(), data("more"));
        if let Some(more) = more {
            assert!(budget.held() > 0);
            remote.data(more);
            assert_eq!(reader.read(), data(more));
            assert_eq!(budget.held(), 0, "freed at once");
            remote.data("and on");
            assert_eq!(reader.read(), data("and on"));
        }
        remote.push(Step::End);
        assert_eq!(reader.read(), Read::End);
        reply.send_response(response(429));

        if attempts == 2 {
            let (mut reader, reply) = call.attempt().await;
            assert_eq!(reader.read(), data("four"));
            assert_eq!(reader.read(), data("more"));
            assert_eq!(reader.read(), Read::End);
            reply.send_response(response(200));
            assert_eq!(
                replay_of(&call.response()),
                (2, Outcome::Forwarded, Replay::Available)
            );
        } else {
            let response = call.response();
            assert_eq!(response.status(), 429);
            assert_eq!(response.headers().get("retry-after"), None);
            assert_eq!(
                replay_of(&response),
                (1, Outcome::Exhausted, Replay::TooLarge)
            );
        }
    }
}

#[tokio::test]
async fn a_body_that_announces_a_length_over_the_limit_is_not_recorded() {
    let budget = ReplayBudget::new(1 << 20);
    let layer = three_keys()
        .max_replay_bytes(2)
        .replay_budget(budget.clone());
    let mut call = Call::start(&layer, Full::from("one"));
    let (mut reader, reply) = call.attempt().await;
    assert_eq!(reader.hint(), (Some(3), 3));
    assert_eq!(reader.read(), data("one"));
    assert_eq!(budget.held(), 0);
    reply.send_response(response(401));
    assert_eq!(
        replay_of(&call.response()),
        (1, Outcome::Exhausted, Replay::TooLarge)
    );
}

#[tokio::test]
async fn a_replay_budget_bounds_all_requests_that_share_it() {
    let budget = ReplayBudget::new(40_000);
    let (one, other) = (
        three_keys().replay_budget(budget.clone()),
        three_keys().replay_budget(budget.clone()),
    );
    let frame = || Bytes::from(vec![7; 30_000]);
    let (body, remote) = chunked();
    let mut first = Call::start(&one, body);
    let (mut reader, _reply) = first.attempt().await;
    remote.data(frame());
    assert_eq!(reader.read(), Read::Data(frame()));
    assert_eq!(budget.held(), 30_000);

    let (body, remote) = chunked();
    let mut second = Call::start(&other, body);
    let (mut reader, reply) = second.attempt().await;
    remote.data(frame());
    remote.data("more");
    assert_eq!(reader.read(), Read::Data(frame()));
    assert_eq!(reader.read(), data("more"), "the live attempt streams on");
    assert_eq!(budget.held(), 30_000);
    reply.send_response(response(429));
    assert_eq!(
        replay_of(&second.response()),
        (1, Outcome::Exhausted, Replay::OverBudget)
    );

    drop(first);
    assert_eq!(budget.held(), 0, "given back on cancel");
}

#[tokio::test]
async fn a_response_ends_the_recording_and_frees_the_buffer_as_it_is_read() {
    let budget = ReplayBudget::new(1 << 20);
    let (body, remote) = chunked();
    let mut call = Call::start(&three_keys().replay_budget(budget.clone()), body);
    let (mut first, reply) = call.attempt().await;
    for frame in ["one", "two"] {
        remote.data(frame);
        assert_eq!(first.read(), data(frame));
    }
    reply.send_response(response(429));
    let (mut second, reply) = call.attempt().await;
    assert_eq!(second.read(), data("one"));
    let held = budget.held();
    reply.send_response(response(200));
    let response = call.response();
    assert_eq!(
        replay_of(&response),
        (2, Outcome::Forwarded, Replay::Available)
    );
    assert!(budget.held() < held, "what was read is gone");
    assert!(budget.held() > 0, "what is still to be read is there");
    assert_eq!(second.read(), data("two"));
    assert_eq!(budget.held(), 0);
    remote.data("three");
    assert_eq!(second.read(), data("three"));
    assert_eq!(budget.held(), 0, "a stream that goes on holds nothing");
}

#[tokio::test]
async fn nothing_is_recorded_if_no_other_key_could_follow() {
    let budget = ReplayBudget::new(1 << 20);
    let one_key = layer(&pool(["k0"]));
    let one_attempt = three_keys().max_attempts(1);
    let disabled = KeyFailoverLayer::disabled(TestPolicy::default());
    for layer in [one_key, one_attempt, disabled] {
        let (body, remote) = chunked();
        let mut call = Call::start(&layer.replay_budget(budget.clone()), body);
        let (mut reader, _reply) = call.attempt().await;
        remote.data("one");
        assert_eq!(reader.read(), data("one"));
        assert_eq!(budget.held(), 0);
    }

    // Nor for the last of several attempts.
    let layer = layer(&pool(["k0", "k1"])).replay_budget(budget.clone());
    let (body, remote) = chunked();
    let mut call = Call::start(&layer, body);
    let (mut reader, reply) = call.attempt().await;
    remote.data("one");
    assert_eq!(reader.read(), data("one"));
    assert!(budget.held() > 0);
    reply.send_response(response(429));
    let (mut reader, _reply) = call.attempt().await;
    assert_eq!(reader.read(), data("one"));
    assert_eq!(budget.held(), 0);
    remote.data("two");
    assert_eq!(reader.read(), data("two"));
    assert_eq!(budget.held(), 0);
}

#[tokio::test]
async fn large_frames_are_kept_as_handles_and_small_frames_are_compacted() {
    let budget = ReplayBudget::new(1 << 20);
    let (body, remote) = chunked();
    let mut call = Call::start(&three_keys().replay_budget(budget.clone()), body);
    let (mut reader, reply) = call.attempt().await;
    let (first, large) = (Bytes::from(vec![1; 10]), Bytes::from(vec![2; 16 * 1024]));
    let small: Vec<Bytes> = (0..5_000).map(|_| Bytes::from(vec![3; 1])).collect();
    for frame in [&first].into_iter().chain(&small).chain([&large]) {
        remote.data(frame.clone());
        assert_eq!(reader.read(), Read::Data(frame.clone()));
    }
    let recorded = first.len() + small.len() + large.len();
    assert!(
        (recorded..=2 * recorded).contains(&budget.held()),
        "{}",
        budget.held()
    );
    reply.send_response(response(429));

    let (mut reader, _reply) = call.attempt().await;
    let mut seen = Vec::new();
    while let Read::Data(frame) = reader.read() {
        seen.push(frame);
    }
    assert_eq!(seen.first(), Some(&first));
    assert_ne!(seen.first().unwrap().as_ptr(), first.as_ptr());
    assert_eq!(seen.last().unwrap().as_ptr(), large.as_ptr());
    assert!(seen.len() < 10, "{} frames", seen.len());
    assert_eq!(seen[1..seen.len() - 1].concat(), small.concat());
}

#[tokio::test]
async fn small_frames_between_large_ones_hold_only_their_own_bytes() {
    const LARGE: usize = 16 * 1024;
    const COUNT: usize = 50;

    let budget = ReplayBudget::new(1 << 24);
    let (body, remote) = chunked();
    let mut call = Call::start(&three_keys().replay_budget(budget.clone()), body);
    let (mut reader, reply) = call.attempt().await;
    for _ in 0..COUNT {
        remote.data(vec![b'l'; LARGE]);
        remote.data("s");
        reader.read();
        assert_eq!(reader.read(), data("s"));
    }
    let sent = COUNT * (LARGE + 1);
    // The last block may have room left.
    assert!(
        budget.held() <= sent + 64 * 1024,
        "{} for {sent}",
        budget.held()
    );
    reply.send_response(response(401));
    let (mut reader, _reply) = call.attempt().await;
    assert_eq!(budget.held(), sent);
    for _ in 0..COUNT {
        assert_eq!(reader.read(), Read::Data(vec![b'l'; LARGE].into()));
        assert_eq!(reader.read(), data("s"));
    }
}

#[tokio::test]
async fn empty_frames_are_forwarded_and_not_recorded() {
    let (body, remote) = chunked();
    let mut call = Call::start(&three_keys(), body);
    let (mut reader, reply) = call.attempt().await;
    for frame in ["", "one", ""] {
        remote.data(frame);
        assert_eq!(reader.read(), data(frame));
    }
    reply.send_response(response(429));
    let (mut reader, _reply) = call.attempt().await;
    assert_eq!(reader.read(), data("one"));
    assert_eq!(reader.read(), Read::Pending);
}

#[tokio::test]
async fn a_reader_that_is_dropped_before_the_response_leaves_the_recording_complete() {
    let (body, remote) = chunked();
    let mut call = Call::start(&three_keys(), body);
    let (mut first, reply) = call.attempt().await;
    remote.data("one");
    assert_eq!(first.read(), data("one"));
    assert_eq!(first.read(), Read::Pending);
    drop(first);
    reply.send_response(response(429));
    let (mut second, _reply) = call.attempt().await;
    assert_eq!(second.read(), data("one"));
    remote.data("two");
    assert_eq!(second.read(), data("two"));
}

#[tokio::test]
async fn the_source_is_dropped_with_its_last_reader_despite_a_superseded_reader() {
    let budget = ReplayBudget::new(1 << 20);
    let (body, remote) = chunked();
    let mut call = Call::start(&three_keys().replay_budget(budget.clone()), body);
    let (mut held, reply) = call.attempt().await;
    remote.data("one");
    assert_eq!(held.read(), data("one"));
    reply.send_response(response(429));
    let (second, reply) = call.attempt().await;
    reply.send_response(response(200));
    call.response();
    assert!(!remote.is_dropped());
    drop(second);
    assert!(remote.is_dropped());
    assert_eq!(budget.held(), 0);
    assert_eq!(held.read(), Read::Superseded);
}

#[tokio::test]
async fn a_cancelled_call_frees_everything_with_its_reader() {
    let budget = ReplayBudget::new(1 << 20);
    let (body, remote) = chunked();
    let mut call = Call::start(&three_keys().replay_budget(budget.clone()), body);
    let (mut reader, _reply) = call.attempt().await;
    remote.data("one");
    assert_eq!(reader.read(), data("one"));
    drop(call);
    assert_eq!(budget.held(), 0);
    assert!(
        !remote.is_dropped(),
        "the attempt itself is the inner service's to end"
    );
    drop(reader);
    assert!(remote.is_dropped());
}

#[tokio::test]
async fn each_attempt_reports_its_number_and_key() {
    let mut call = Call::start(&three_keys(), Full::from("one"));
    for (number, key) in [(1, "k0"), (2, "k1"), (3, "k2")] {
        let (reader, reply) = call.attempt().await;
        let attempt = RequestBody::attempt(reader.body()).unwrap();
        assert_eq!(
            (attempt.number(), attempt.key().expose_secret()),
            (number, key)
        );
        assert_eq!((attempt.hint(), attempt.label()), ("...", None));
        reply.send_response(response(if number == 3 { 200 } else { 429 }));
    }
}

#[tokio::test]
async fn a_head_with_very_many_values_is_sent_again() {
    const VALUES: usize = 30_000;
    let (mut service, mut handle): (_, Handle) = stack(&three_keys());
    let mut request = Request::new(Full::from("body"));
    for _ in 0..VALUES {
        request
            .headers_mut()
            .append("x-list", http::HeaderValue::from_static("one"));
    }
    assert_ready_ok!(service.poll_ready());
    let mut future = task::spawn(service.call(request));
    for status in [429, 429, 200] {
        assert_pending!(future.poll());
        let (sent, reply) = handle.next_request().await.unwrap();
        assert_eq!(sent.headers().get_all("x-list").iter().count(), VALUES);
        reply.send_response(response(status));
    }
    assert_eq!(assert_ready_ok!(future.poll()).status(), 200);
}
