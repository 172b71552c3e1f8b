//! Requests that wait for a key to return.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use test_support::harness::{
    Harness, InFlight, MILLI, MockResponse, SECOND, keep, key, rate_limited,
};
use test_support::mock::{pool, request, response};
use test_support::policy::TestPolicy;
use tokio::time::advance;
use tower_key_failover::pool::{KeyPool, KeyState, NewKey};
use tower_key_failover::{FailoverInfo, KeyFailoverLayer, Outcome, Replay};

fn layer(pool: &Arc<KeyPool>, seconds: u64) -> KeyFailoverLayer<TestPolicy> {
    test_support::mock::layer(pool).wait_for_key(Duration::from_secs(seconds))
}

fn out(pool: &KeyPool, at: usize, wait: Duration) {
    key(pool, at).mark_temporary(Some(wait));
}

/// A pool of one key that is out for three seconds, and requests that wait for it.
fn line<const N: usize>() -> (Arc<KeyPool>, Harness, [InFlight; N]) {
    let pool = pool(["k0"]);
    out(&pool, 0, 3 * SECOND);
    let mut harness = Harness::new(&layer(&pool, 10));
    let requests = std::array::from_fn(|_| harness.send());
    assert!(harness.try_next_attempt().is_none());
    (pool, harness, requests)
}

/// Has those poll that were woken, until there are none.
fn settle(requests: &mut [InFlight]) {
    settle_all(&mut requests.iter_mut().collect::<Vec<_>>());
}

fn settle_all(requests: &mut [&mut InFlight]) {
    for _ in 0..100 {
        if !requests.iter().any(|request| request.is_woken()) {
            return;
        }
        for request in &mut *requests {
            if request.is_woken() {
                request.poll();
            }
        }
    }
    panic!("they wake each other without end");
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_until_the_soonest_key_returns_and_no_longer() {
    let pool = pool(["k0", "k1"]);
    out(&pool, 0, 9 * SECOND);
    out(&pool, 1, 3 * SECOND);
    let mut harness = Harness::new(&layer(&pool, 3));
    let mut request = harness.send();
    advance(3 * SECOND - MILLI).await;
    assert!(!request.is_woken() && request.is_pending());
    assert!(harness.try_next_attempt().is_none());
    advance(MILLI).await;
    assert!(request.is_woken() && request.is_pending());
    let seen = harness.next_attempt();
    assert_eq!(seen.key, "k1");
    seen.respond(response(200));
    assert_eq!(request.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_refused_waits_as_well() {
    let pool = pool(["k0"]);
    let mut harness = Harness::new(&layer(&pool, 5));
    let mut request = harness.send();
    harness.next_attempt().respond(rate_limited("5"));
    assert!(request.is_pending());
    assert!(harness.try_next_attempt().is_none());
    advance(5 * SECOND).await;
    assert!(request.is_pending());
    harness.next_attempt().respond(response(200));
    let info = request.info();
    assert_eq!((info.attempts(), info.waited()), (2, 5 * SECOND));
    assert_eq!(info.outcome(), Outcome::Forwarded);
}

#[tokio::test(start_paused = true)]
async fn without_wait_for_key_no_request_waits() {
    let pool = pool(["k0"]);
    out(&pool, 0, SECOND);
    assert_eq!(
        Harness::new(&test_support::mock::layer(&pool))
            .send()
            .status(),
        429
    );
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_reported_in_the_extensions() {
    let (_, mut harness, [mut request]) = line();
    advance(3 * SECOND).await;
    request.poll();
    harness.next_attempt().respond(response(200));
    let response = request.response();
    let info = response.extensions().get::<FailoverInfo>().unwrap();
    assert_eq!((info.attempts(), info.waited()), (1, 3 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_would_wait_too_long_is_refused_at_once() {
    let pool = pool(["k0"]);
    out(&pool, 0, 3 * SECOND + MILLI);
    let response = Harness::new(&layer(&pool, 3)).send().response();
    assert_eq!(
        (
            response.status().as_u16(),
            &response.headers()["retry-after"]
        ),
        (429, &"4".parse().unwrap())
    );
}

#[tokio::test(start_paused = true)]
async fn no_request_waits_if_all_keys_are_marked_permanently() {
    let pool = pool(["k0", "k1"]);
    for key in pool.keys() {
        key.mark_permanent();
    }
    assert_eq!(Harness::new(&layer(&pool, 3)).send().status(), 502);
}

#[tokio::test(start_paused = true)]
async fn the_body_is_recorded_and_sent_again_after_the_wait() {
    let pool = pool(["k0"]);
    let mut harness = Harness::new(&layer(&pool, 3));
    let mut request = harness.send();
    for wait in [false, true] {
        if wait {
            advance(3 * SECOND).await;
            request.poll();
        }
        let mut seen = harness.next_attempt();
        let body = seen.request.body_mut().collect().await.unwrap().to_bytes();
        assert_eq!(body, Bytes::from_static(b"body"));
        seen.respond(if wait {
            response(200)
        } else {
            rate_limited("3")
        });
        request.poll();
    }
    assert_eq!(request.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_body_of_a_request_that_waits_first_arrives_completely() {
    let (_, mut harness, [mut request]) = line();
    advance(3 * SECOND).await;
    request.poll();
    let mut seen = harness.next_attempt();
    let body = seen.request.body_mut().collect().await.unwrap().to_bytes();
    assert_eq!(body, Bytes::from_static(b"body"));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_sent_again_waits_before_its_only_attempt_and_not_after() {
    let pool = pool(["k0"]);
    out(&pool, 0, SECOND);
    let mut harness = Harness::new(&layer(&pool, 5).max_replay_bytes(3));
    let mut request = harness.send_request(request("long"));
    advance(SECOND).await;
    request.poll();
    harness.next_attempt().respond(rate_limited("1"));
    let info = request.info();
    assert_eq!((info.attempts(), info.outcome()), (1, Outcome::Exhausted));
    assert_eq!(info.replay(), Replay::TooLarge);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waited_without_success_is_not_reported_as_repeatable() {
    for (bytes, replay) in [(3, Replay::TooLarge), (4, Replay::Available)] {
        let pool = KeyPool::builder().key("k0").probe_after(None);
        let pool = Arc::new(pool.build().unwrap());
        out(&pool, 0, SECOND);
        let mut harness = Harness::new(&layer(&pool, 5).max_replay_bytes(bytes));
        let mut request = harness.send_request(request("long"));
        key(&pool, 0).mark_permanent();
        advance(5 * SECOND).await;
        let info = request.info();
        assert_eq!((info.attempts(), info.outcome()), (0, Outcome::Exhausted));
        assert_eq!(info.replay(), replay);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connect_does_not_wait() {
    let pool = pool(["k0"]);
    out(&pool, 0, SECOND);
    let mut connect = request("");
    *connect.method_mut() = Method::CONNECT;
    assert_eq!(
        Harness::new(&layer(&pool, 5))
            .send_request(connect)
            .status(),
        429
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_keeps_the_key_is_forwarded_without_waiting() {
    let pool = pool(["k0", "k1"]);
    out(&pool, 1, SECOND);
    assert_eq!(Harness::new(&layer(&pool, 5)).run([keep()]).1.status(), 403);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_kept_is_not_tried_again_after_a_wait() {
    let pool = pool(["k0", "k1"]);
    let mut harness = Harness::new(&layer(&pool, 5));
    let mut request = harness.send();
    harness.next_attempt().respond(keep());
    request.poll();
    harness.next_attempt().respond(rate_limited("2"));
    assert!(request.is_pending());
    advance(2 * SECOND).await;
    assert!(request.is_pending());
    assert_eq!(harness.next_attempt().key, "k1");
}

#[tokio::test(start_paused = true)]
async fn all_waits_of_a_request_together_are_bounded() {
    let pool = pool(["k0"]);
    let layer = layer(&pool, 5).max_attempts(9);
    let mut harness = Harness::new(&layer);
    let mut request = harness.send();
    for _ in 0..2 {
        harness.next_attempt().respond(rate_limited("2"));
        assert!(request.is_pending());
        advance(2 * SECOND).await;
        assert!(request.is_pending());
    }
    harness.next_attempt().respond(rate_limited("2"));
    let response = request.response();
    assert_eq!(&response.headers()["retry-after"], "2");
    assert_eq!(response.body().failover().unwrap().waited(), 4 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_request_makes_at_most_twice_as_many_attempts_as_there_are_keys() {
    let pool = pool(["k0", "k1"]);
    let mut harness = Harness::new(&layer(&pool, 60));
    let mut request = harness.send();
    for (expected, wait) in [("k0", false), ("k1", true), ("k0", false), ("k1", false)] {
        let seen = harness.next_attempt();
        assert_eq!(seen.key, expected);
        seen.respond(rate_limited("1"));
        request.poll();
        if wait {
            advance(SECOND).await;
            request.poll();
        }
    }
    assert_eq!(request.info().attempts(), 4);
}

#[tokio::test(start_paused = true)]
async fn max_attempts_bounds_the_attempts_of_a_waiting_request() {
    let pool = pool(["k0"]);
    let two = layer(&pool, 60).max_attempts(1);
    let (keys, response) = Harness::new(&two).run([rate_limited("1")]);
    assert_eq!((keys.len(), response.status().as_u16()), (1, 429));
}

#[tokio::test(start_paused = true)]
async fn waiters_are_admitted_in_order_of_arrival() {
    let (_, mut harness, mut requests) = line::<4>();
    advance(3 * SECOND).await;
    settle(&mut requests);
    let seen = harness.next_attempt();
    assert!(harness.try_next_attempt().is_none(), "one at a time");
    seen.respond(response(200));
    assert_eq!(requests[0].status(), 200, "the first that came");
    settle(&mut requests);
    for request in 1..4 {
        harness.next_attempt().respond(response(200));
        assert_eq!(requests[request].status(), 200);
        settle(&mut requests);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_waiter_delays_the_next_until_the_key_recovers() {
    let (_, mut harness, mut requests) = line::<2>();
    advance(3 * SECOND).await;
    settle(&mut requests);
    harness.next_attempt().respond(rate_limited("4"));
    requests[0].poll();
    settle(&mut requests);
    assert!(harness.try_next_attempt().is_none());
    advance(4 * SECOND).await;
    settle(&mut requests);
    harness.next_attempt().respond(response(200));
    assert_eq!(
        requests[1].status(),
        200,
        "the second had come before the first came back"
    );
    settle(&mut requests);
    harness.next_attempt().respond(response(200));
    assert_eq!(requests[0].status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_response_without_evidence_admits_the_next_waiter() {
    let (_, mut harness, mut requests) = line::<3>();
    advance(3 * SECOND).await;
    settle(&mut requests);
    harness.next_attempt().respond(response(500));
    assert_eq!(requests[0].status(), 500);
    settle(&mut requests);
    harness.next_attempt().fail("connection reset");
    assert!(requests[1].result().is_err());
    settle(&mut requests);
    harness.next_attempt().respond(response(200));
    assert_eq!(requests[2].status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_behind_another_does_not_spin() {
    let (_, mut harness, mut requests) = line::<2>();
    advance(3 * SECOND).await;
    settle(&mut requests);
    let seen = harness.next_attempt();
    for _ in 0..10 {
        assert!(requests[1].is_pending());
        assert!(!requests[1].is_woken());
    }
    seen.respond(response(200));
}

#[tokio::test(start_paused = true)]
async fn each_recovered_key_admits_one_waiter() {
    let pool = pool(["k0", "k1"]);
    out(&pool, 0, SECOND);
    out(&pool, 1, SECOND);
    let mut harness = Harness::new(&layer(&pool, 10));
    let mut requests = [(); 4].map(|()| harness.send());
    advance(SECOND).await;
    settle(&mut requests);
    let (first, other) = (harness.next_attempt(), harness.next_attempt());
    assert_eq!((&*first.key, &*other.key), ("k0", "k1"));
    assert!(harness.try_next_attempt().is_none());
    first.respond(response(500));
    assert_eq!(requests[0].status(), 500);
    settle(&mut requests);
    let _second = harness.next_attempt();
    assert!(harness.try_next_attempt().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_recovered_group_admits_one_waiter() {
    let pool = KeyPool::builder()
        .key("k0")
        .group("org")
        .key("k1")
        .group("org");
    let pool = Arc::new(pool.build().unwrap());
    out(&pool, 1, SECOND);
    let mut harness = Harness::new(&layer(&pool, 10));
    let mut requests = [harness.send(), harness.send(), harness.send()];
    advance(SECOND).await;
    settle(&mut requests);
    let seen = harness.next_attempt();
    assert!(harness.try_next_attempt().is_none());
    seen.respond(response(200));
    requests[0].poll();
    settle(&mut requests);
    harness.next_attempt();
    harness.next_attempt();
}

#[tokio::test(start_paused = true)]
async fn a_request_beyond_max_waiters_is_refused_at_once() {
    let pool = KeyPool::builder().key("k0").max_waiters(2).build().unwrap();
    let pool = Arc::new(pool);
    out(&pool, 0, SECOND);
    let mut harness = Harness::new(&layer(&pool, 10));
    let mut waiting = [harness.send(), harness.send()];
    assert_eq!(harness.send().status(), 429);
    assert!(waiting.iter_mut().all(InFlight::is_pending));
    drop(waiting);
    assert!(harness.send().is_pending());
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_gives_up_keeps_the_queue_in_order() {
    for leaves in 0..3 {
        let (_, mut harness, requests) = line::<4>();
        let mut requests = Vec::from(requests);
        drop(requests.remove(leaves));
        advance(3 * SECOND).await;
        for request in 0..3 {
            settle(&mut requests);
            harness.next_attempt().respond(response(200));
            assert_eq!(
                requests[request].status(),
                200,
                "{request} without {leaves}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_gives_up_after_its_key_returned_admits_the_next() {
    let (_, mut harness, [first, second]) = line();
    advance(3 * SECOND).await;
    drop(first);
    let mut requests = [second];
    settle(&mut requests);
    harness.next_attempt();
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_gives_up_before_the_service_is_ready_gives_its_key_back() {
    let (_, mut harness, [mut first, second]) = line();
    harness.provider.allow(0);
    advance(3 * SECOND).await;
    let mut rest = [second];
    assert!(first.is_pending());
    settle(&mut rest);
    harness.provider.allow(1);
    drop(first);
    settle(&mut rest);
    harness.next_attempt();
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_gives_up_during_its_attempt_gives_its_key_back() {
    let (_, mut harness, [mut first, second]) = line();
    advance(3 * SECOND).await;
    first.poll();
    harness.next_attempt();
    let mut rest = [second];
    settle(&mut rest);
    assert!(harness.try_next_attempt().is_none());
    drop(first);
    settle(&mut rest);
    harness.next_attempt();
}

#[tokio::test(start_paused = true)]
async fn a_reinstatement_wakes_all_waiters() {
    let (pool, mut harness, mut requests) = line::<3>();
    pool.reinstate(0).unwrap();
    settle(&mut requests);
    for request in &mut requests {
        harness.next_attempt().respond(response(200));
        assert_eq!(request.status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn an_added_key_wakes_all_waiters() {
    let (pool, mut harness, mut requests) = line::<2>();
    pool.add_key("k1").unwrap();
    settle(&mut requests);
    assert_eq!(
        (harness.next_attempt().key, harness.next_attempt().key),
        ("k1".into(), "k1".into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_replaced_list_of_keys_wakes_all_waiters() {
    let (pool, mut harness, mut requests) = line::<2>();
    pool.replace_keys(["k1", "k2"]).unwrap();
    settle(&mut requests);
    assert_eq!(
        (harness.next_attempt().key, harness.next_attempt().key),
        ("k1".into(), "k1".into())
    );
}

#[tokio::test(start_paused = true)]
async fn waiters_are_refused_when_the_last_key_is_marked_permanently() {
    let (pool, mut harness, mut requests) = line::<2>();
    key(&pool, 0).mark_permanent();
    settle(&mut requests);
    assert!(harness.try_next_attempt().is_none());
    for request in &mut requests {
        assert_eq!(request.status(), 502);
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_refused_when_recovery_moves_beyond_its_time() {
    let (pool, mut harness, mut requests) = line::<2>();
    out(&pool, 0, 30 * SECOND);
    advance(3 * SECOND).await;
    settle(&mut requests);
    assert!(harness.try_next_attempt().is_none());
    for request in &mut requests {
        assert_eq!(request.status(), 429);
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_behind_a_hanging_attempt_uses_the_key_after_250_ms() {
    let (_, mut harness, mut requests) = line::<2>();
    advance(3 * SECOND).await;
    settle(&mut requests);
    let _hanging = harness.next_attempt();
    advance(250 * MILLI - MILLI).await;
    settle(&mut requests);
    assert!(harness.try_next_attempt().is_none());
    advance(MILLI).await;
    assert!(requests[1].is_woken());
    settle(&mut requests);
    harness.next_attempt().respond(response(200));
    assert_eq!(requests[1].status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_behind_another_attempt_waits_within_its_time() {
    let pool = pool(["k0"]);
    let mut harness = Harness::new(&layer(&pool, 4));
    out(&pool, 0, 4 * SECOND - 100 * MILLI);
    let mut requests = [harness.send(), harness.send()];
    advance(4 * SECOND - 100 * MILLI).await;
    settle(&mut requests);
    let _hanging = harness.next_attempt();
    advance(99 * MILLI).await;
    assert!(!requests[1].is_woken());
    advance(MILLI).await;
    assert!(requests[1].is_woken());
    assert_eq!(requests[1].status(), 429);
}

#[tokio::test(start_paused = true)]
async fn a_new_request_does_not_overtake_waiters() {
    let (_, mut harness, mut requests) = line::<2>();
    advance(3 * SECOND).await;
    let mut newcomer = harness.send();
    assert!(harness.try_next_attempt().is_none());
    settle(&mut requests);
    harness.next_attempt().respond(response(200));
    assert_eq!(requests[0].status(), 200);
    assert!(newcomer.is_pending());
    settle(&mut requests);
    harness.next_attempt().respond(response(200));
    assert_eq!(requests[1].status(), 200);
    assert!(newcomer.is_pending());
    harness.next_attempt().respond(response(200));
    assert_eq!(newcomer.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_new_request_takes_a_key_that_was_never_marked() {
    let (pool, mut harness, _flights) = line::<2>();
    pool.add_key("k1").unwrap();
    assert_eq!(harness.keys([response(200)]), ["k1"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_waits_while_another_tries_the_only_other_key() {
    let pool = pool(["k0", "k1"]);
    out(&pool, 0, SECOND);
    out(&pool, 1, SECOND);
    let mut harness = Harness::new(&layer(&pool, 10));
    let mut requests = [harness.send(), harness.send()];
    advance(SECOND).await;
    settle(&mut requests);
    let (one, two) = (harness.next_attempt(), harness.next_attempt());
    assert_eq!((&*one.key, &*two.key), ("k0", "k1"));
    one.respond(rate_limited("5"));
    assert!(requests[0].is_pending(), "the second key may come free");
    two.respond(response(200));
    assert_eq!(requests[1].status(), 200);
    settle(&mut requests);
    let seen = harness.next_attempt();
    assert_eq!(seen.key, "k1");
    seen.respond(response(200));
    assert_eq!(requests[0].status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_removed_while_the_service_is_made_ready_is_not_used() {
    let (pool, mut harness, [mut request]) = line();
    harness.provider.allow(0);
    advance(3 * SECOND).await;
    assert!(request.is_pending());
    pool.replace_keys(["k1"]).unwrap();
    harness.provider.allow(1);
    request.poll();
    assert_eq!(harness.next_attempt().key, "k1");
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_refused_if_its_key_is_removed_and_no_other_is_left() {
    let (pool, mut harness, [mut request]) = line();
    harness.provider.allow(0);
    advance(3 * SECOND).await;
    assert!(request.is_pending());
    pool.replace_keys(["k1"]).unwrap();
    pool.disable(0).unwrap();
    harness.provider.allow(1);
    assert_eq!(request.status(), 502);
}

#[tokio::test(start_paused = true)]
async fn a_due_key_is_probed_without_waiting() {
    let pool = KeyPool::builder()
        .key("k0")
        .key("k1")
        .probe_after(SECOND)
        .without_probe_jitter();
    let pool = Arc::new(pool.build().unwrap());
    key(&pool, 0).mark_permanent();
    out(&pool, 1, 3 * SECOND);
    let mut harness = Harness::new(&layer(&pool, 10));
    let mut request = harness.send();
    assert!(harness.try_next_attempt().is_none());
    drop(request);
    advance(SECOND).await;
    request = harness.send();
    harness.next_attempt().respond(response(200));
    assert_eq!(request.status(), 200);
    assert_eq!(pool.states()[0], KeyState::Valid);
}

#[tokio::test(start_paused = true)]
async fn a_large_waiter_carries_no_probe_while_another_key_is_valid() {
    let pool = KeyPool::builder()
        .key("k0")
        .key("k1")
        .probe_after(SECOND)
        .without_probe_jitter();
    let pool = Arc::new(pool.build().unwrap());
    key(&pool, 0).mark_permanent();
    out(&pool, 1, SECOND);
    let mut harness = Harness::new(&layer(&pool, 10).max_replay_bytes(3));
    let mut request = harness.send_request(request("long"));
    assert!(harness.try_next_attempt().is_none());
    advance(SECOND).await;
    request.poll();
    assert_eq!(harness.next_attempt().key, "k1");
}

#[tokio::test(start_paused = true)]
async fn labels_and_groups_can_change_while_requests_wait() {
    let (pool, mut harness, mut requests) = line::<2>();
    let same = NewKey::new("k0").label("renamed");
    pool.replace_keys([same]).unwrap();
    settle(&mut requests);
    assert!(harness.try_next_attempt().is_none());
    advance(3 * SECOND).await;
    settle(&mut requests);
    let answered: MockResponse = response(200);
    harness.next_attempt().respond(answered);
    let info = requests[0].info();
    assert_eq!(info.label(), Some("renamed"));
}

#[tokio::test(start_paused = true)]
async fn the_longest_wait_does_not_overflow() {
    let pool = pool(["k0"]);
    out(&pool, 0, 3 * SECOND);
    let layer = test_support::mock::layer(&pool).wait_for_key(Duration::MAX);
    let mut harness = Harness::new(&layer);
    let mut request = harness.send();
    assert!(request.is_pending());
    advance(3 * SECOND).await;
    assert!(request.is_pending());
    harness.next_attempt();
}

#[tokio::test(start_paused = true)]
async fn reinstating_a_key_during_an_attempt_frees_it_for_all_waiters() {
    let (pool, mut harness, mut requests) = line::<3>();
    advance(3 * SECOND).await;
    settle(&mut requests);
    let _hanging = harness.next_attempt();
    assert_eq!(pool.reinstate(0), Ok(false), "it was not out");
    settle(&mut requests);
    for request in &mut requests[1..] {
        harness.next_attempt().respond(response(200));
        assert_eq!(request.status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_are_refused_at_once_when_the_last_key_is_disabled() {
    let (pool, _, mut requests) = line::<3>();
    pool.disable(0).unwrap();
    assert!(requests[0].is_woken());
    settle(&mut requests);
    for request in &mut requests {
        assert_eq!(request.status(), 502);
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_cannot_use_a_valid_key_does_not_block_others() {
    let pool = pool(["k0", "k1"]);
    out(&pool, 0, SECOND);
    advance(SECOND).await;
    let mut harness = Harness::new(&layer(&pool, 10));
    let mut picky = harness.send();
    harness.next_attempt().respond(keep());
    picky.poll();
    harness.next_attempt().respond(rate_limited("5"));
    assert!(picky.is_pending());

    let mut other = harness.send();
    let seen = harness.next_attempt();
    assert_eq!(seen.key, "k0", "it is valid");
    // Now there is no key for new requests, either.
    seen.respond(rate_limited("2"));
    assert!(other.is_pending());
    let mut third = harness.send();
    assert!(third.is_pending() && harness.try_next_attempt().is_none());
    advance(2 * SECOND).await;
    settle_all(&mut [&mut picky, &mut other, &mut third]);
    let seen = harness.next_attempt();
    assert_eq!(seen.key, "k0");
    assert!(harness.try_next_attempt().is_none(), "one tries it first");
    seen.respond(response(200));
    settle_all(&mut [&mut picky, &mut other, &mut third]);
    assert_eq!(other.status(), 200);
    harness.next_attempt().respond(response(200));
    assert_eq!(third.status(), 200);

    assert!(picky.is_pending());
    advance(3 * SECOND).await;
    picky.poll();
    let seen = harness.next_attempt();
    assert_eq!(seen.key, "k1");
    seen.respond(response(200));
    assert_eq!(picky.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn waiters_are_refused_at_once_when_a_mark_makes_the_last_key_permanent() {
    let (pool, _, mut requests) = line::<3>();
    key(&pool, 0).mark_permanent();
    assert!(requests[0].is_woken());
    settle(&mut requests);
    for request in &mut requests {
        assert_eq!(request.status(), 502);
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_are_refused_at_once_when_a_mark_extends_the_cooldown_beyond_their_time() {
    let (pool, _, mut requests) = line::<3>();
    out(&pool, 0, 30 * SECOND);
    assert!(requests[0].is_woken());
    settle(&mut requests);
    for request in &mut requests {
        assert_eq!(request.status(), 429);
    }
}

#[tokio::test(start_paused = true)]
async fn waiters_are_refused_at_once_when_an_earlier_request_is_refused_by_the_last_key() {
    let pool = pool(["k0"]);
    let mut harness = Harness::new(&layer(&pool, 10));
    let mut before = harness.send();
    let seen = harness.next_attempt();
    out(&pool, 0, 3 * SECOND);
    let mut waiting = harness.send();
    seen.respond(response(401));
    assert_eq!(before.status(), 502);
    assert!(waiting.is_woken());
    assert_eq!(waiting.status(), 502);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_skips_a_key_learns_of_its_marks() {
    let pool = pool(["k0", "k1"]);
    let mut harness = Harness::new(&layer(&pool, 10));
    let mut picky = harness.send();
    harness.next_attempt().respond(keep());
    picky.poll();
    harness.next_attempt().respond(rate_limited("5"));
    assert!(picky.is_pending());
    key(&pool, 1).mark_permanent();
    assert!(picky.is_woken());
    assert_eq!(picky.status(), 502);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_keeps_waiting_when_a_mark_extends_the_cooldown_within_its_time() {
    let (pool, mut harness, mut requests) = line::<2>();
    out(&pool, 0, 5 * SECOND);
    assert!(requests[0].is_woken());
    settle(&mut requests);
    advance(5 * SECOND - MILLI).await;
    assert!(!requests[0].is_woken());
    advance(MILLI).await;
    settle(&mut requests);
    assert_eq!(harness.next_attempt().key, "k0");
    assert!(harness.try_next_attempt().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_changes_nothing_wakes_no_waiter() {
    let (pool, _, requests) = line::<2>();
    out(&pool, 0, SECOND);
    assert!(!requests.iter().any(InFlight::is_woken));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_not_woken_by_its_own_mark() {
    let (_, mut harness, [mut request]) = line();
    advance(3 * SECOND).await;
    request.poll();
    harness.next_attempt().respond(rate_limited("3"));
    assert!(request.is_pending());
    assert!(!request.is_woken());
}

/// A pool of these keys with this probe interval, of which the first is permanently marked.
fn revalidating(after: Duration, keys: &[&str]) -> Arc<KeyPool> {
    let builder = keys
        .iter()
        .fold(KeyPool::builder(), |builder, key| builder.key(*key));
    let pool = builder
        .probe_after(after)
        .without_probe_jitter()
        .build()
        .unwrap();
    key(&pool, 0).mark_permanent();
    Arc::new(pool)
}

#[tokio::test(start_paused = true)]
async fn a_waiter_probes_a_due_key_before_the_first_key_recovers() {
    let pool = revalidating(2 * SECOND, &["k0", "k1"]);
    out(&pool, 1, 5 * SECOND);
    let mut harness = Harness::new(&layer(&pool, 10));
    let mut request = harness.send();
    // No key is usable, so the pool is probed after a second.
    advance(SECOND - MILLI).await;
    assert!(!request.is_woken());
    advance(MILLI).await;
    assert!(request.is_woken() && request.is_pending());
    let seen = harness.next_attempt();
    assert_eq!(seen.key, "k0");
    seen.respond(response(200));
    assert_eq!(request.info().waited(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_behind_another_attempt_probes_a_due_key_first() {
    let pool = revalidating(5 * SECOND, &["k0", "k1"]);
    out(&pool, 1, SECOND);
    let mut harness = Harness::new(&layer(&pool, 10));
    let mut requests = [harness.send(), harness.send()];
    advance(SECOND).await;
    settle(&mut requests);
    let hanging = harness.next_attempt();
    assert_eq!(hanging.key, "k1");
    advance(4 * SECOND).await;
    assert!(requests[1].is_woken());
    settle(&mut requests);
    assert_eq!(harness.next_attempt().key, "k0");
}

#[tokio::test(start_paused = true)]
async fn the_probe_of_a_group_uses_a_key_that_is_not_permanently_marked() {
    let pool = KeyPool::builder()
        .key("k0")
        .group("org")
        .key("k1")
        .group("org");
    let pool = Arc::new(
        pool.probe_after(2 * SECOND)
            .without_probe_jitter()
            .build()
            .unwrap(),
    );
    key(&pool, 0).mark_permanent();
    advance(SECOND).await;
    out(&pool, 1, 9 * SECOND);
    let mut harness = Harness::new(&layer(&pool, 10));
    let mut request = harness.send();
    advance(2 * SECOND - MILLI).await;
    assert!(!request.is_woken());
    advance(MILLI).await;
    assert!(request.is_woken() && request.is_pending());
    assert_eq!(harness.next_attempt().key, "k1");
}

#[tokio::test(start_paused = true)]
async fn a_waiter_probes_a_permanently_marked_key_when_the_cooldown_of_its_group_ends() {
    let pool = KeyPool::builder().key("k0").group("org").key("k1");
    let pool = Arc::new(pool.without_probe_jitter().build().unwrap());
    out(&pool, 0, 3 * SECOND);
    out(&pool, 1, 30 * SECOND);
    key(&pool, 0).mark_permanent();
    let mut harness = Harness::new(&layer(&pool, 60));
    let mut request = harness.send();
    // The pool is due after a second, and its only candidate cannot be probed yet.
    advance(SECOND).await;
    assert!(request.is_pending());
    assert!(harness.try_next_attempt().is_none());
    advance(2 * SECOND).await;
    assert!(request.is_woken() && request.is_pending());
    assert_eq!(harness.next_attempt().key, "k0");
}

#[tokio::test(start_paused = true)]
async fn no_request_waits_for_a_probe_if_all_keys_are_marked_permanently() {
    let pool = revalidating(2 * SECOND, &["k0"]);
    assert_eq!(Harness::new(&layer(&pool, 10)).send().status(), 502);
}
