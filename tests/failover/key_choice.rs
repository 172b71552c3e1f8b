//! Sessions, pins and caps: which key a request uses, and how long it counts as in flight.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use test_support::body::{Source, Step, chunked};
use test_support::harness::{Harness, key, rate_limited};
use test_support::mock::{Body, Stack, layer, pool, request, response, stack};
use test_support::policy::TestPolicy;
use tokio_test::{assert_ready_ok, task};
use tower_key_failover::pool::{KeyChoice, NewKey, Selection, session_id};
use tower_key_failover::{KeyFailoverLayer, KeyPool, PickedBy};

fn capped() -> Arc<KeyPool> {
    let pool = KeyPool::builder().key("k0").max_in_flight(1).key("k1");
    Arc::new(pool.build().unwrap())
}

fn in_flight(pool: &KeyPool) -> u32 {
    pool.snapshot().keys[0].in_flight.unwrap()
}

/// A request whose response body has come so far.
async fn with_body(
    pool: &Arc<KeyPool>,
    status: u16,
) -> (
    Response<tower_key_failover::ResponseBody<Source>>,
    test_support::body::Remote,
) {
    let layer = KeyFailoverLayer::new(TestPolicy::default(), Arc::clone(pool));
    let (mut service, mut handle): Stack<_, Body, Source> = stack(&layer);
    assert_ready_ok!(service.poll_ready());
    let mut future = task::spawn(service.call(request("one")));
    assert!(future.poll().is_pending());
    assert_eq!(in_flight(pool), 1);
    let (_, reply) = handle.next_request().await.unwrap();
    let (body, remote) = chunked();
    reply.send_response(Response::builder().status(status).body(body).unwrap());
    (assert_ready_ok!(future.poll()), remote)
}

fn next(
    body: &mut Response<tower_key_failover::ResponseBody<Source>>,
) -> Option<Result<Bytes, ()>> {
    let mut frame = task::spawn(http_body_util::BodyExt::frame(body.body_mut()));
    match frame.poll() {
        std::task::Poll::Ready(Some(Ok(frame))) => Some(Ok(frame.into_data().unwrap())),
        std::task::Poll::Ready(Some(Err(_))) => Some(Err(())),
        std::task::Poll::Ready(None) => None,
        std::task::Poll::Pending => panic!("the test gives each frame in time"),
    }
}

#[tokio::test]
async fn a_request_counts_as_in_flight_until_its_response_body_ends() {
    let pool = capped();
    let (mut response, remote) = with_body(&pool, 200).await;
    remote.data("some");
    assert_eq!(next(&mut response), Some(Ok("some".into())));
    assert_eq!(in_flight(&pool), 1);
    remote.push(Step::End);
    assert_eq!(next(&mut response), None);
    assert_eq!(in_flight(&pool), 0);
}

#[tokio::test]
async fn a_request_counts_as_in_flight_until_its_response_body_fails_or_is_dropped() {
    let pool = capped();
    let (mut response, remote) = with_body(&pool, 200).await;
    remote.push(Step::Error);
    assert_eq!(next(&mut response), Some(Err(())));
    assert_eq!(in_flight(&pool), 0);

    let (response, _remote) = with_body(&pool, 200).await;
    assert_eq!(in_flight(&pool), 1);
    drop(response);
    assert_eq!(in_flight(&pool), 0);
}

#[tokio::test]
async fn an_upgraded_connection_does_not_count_as_in_flight() {
    let pool = capped();
    let (_response, _remote) = with_body(&pool, 101).await;
    assert_eq!(in_flight(&pool), 0);
}

#[tokio::test]
async fn a_request_that_is_refused_fails_or_is_dropped_does_not_count_as_in_flight_with_that_key() {
    let pool = capped();
    let mut harness = Harness::new(&layer(&pool));
    let mut refused = harness.send();
    harness.next_attempt().respond(rate_limited("60"));
    assert!(refused.is_pending());
    assert_eq!(in_flight(&pool), 0);
    drop(refused);

    for fails in [true, false] {
        pool.reinstate(0).unwrap();
        let mut harness = Harness::new(&layer(&pool));
        let mut sent = harness.send();
        let attempt = harness.next_attempt();
        assert_eq!(in_flight(&pool), 1);
        if fails {
            attempt.fail("reset");
            sent.result().unwrap_err();
        } else {
            drop(sent);
        }
        assert_eq!(in_flight(&pool), 0);
    }
}

#[tokio::test]
async fn a_request_passes_over_a_key_at_its_cap() {
    let pool = capped();
    let mut harness = Harness::new(&layer(&pool));
    let first = harness.send();
    assert_eq!(harness.next_attempt().key, "k0");
    let second = harness.send();
    assert_eq!(harness.next_attempt().key, "k1");
    drop(first);
    let third = harness.send();
    assert_eq!(harness.next_attempt().key, "k0");
    drop((second, third));
}

#[tokio::test]
async fn requests_of_a_session_use_the_same_key_and_those_of_other_sessions_other_keys() {
    let pool = pool(["k0", "k1", "k2"]);
    let layer = layer(&pool).affinity(|head| head.headers.get("x-session").map(session_id));
    let mut harness = Harness::new(&layer);
    let mut key_of = |session: &str| {
        let mut request = request("one");
        request
            .headers_mut()
            .insert("x-session", session.parse().unwrap());
        let (keys, response) = harness.run_request(request, [response(200)]);
        let info = response.body().failover().unwrap().clone();
        assert_eq!(
            info.history().next().unwrap().picked_by(),
            PickedBy::Affinity
        );
        keys
    };
    let sessions: Vec<String> = (0..20).map(|number| format!("session {number}")).collect();
    let keys: Vec<_> = sessions.iter().map(|session| key_of(session)).collect();
    assert_eq!(
        keys,
        sessions
            .iter()
            .map(|session| key_of(session))
            .collect::<Vec<_>>()
    );
    for name in ["k0", "k1", "k2"] {
        assert!(keys.iter().any(|key| key == &[name]), "{keys:?}");
    }
}

#[tokio::test]
async fn the_session_of_a_request_itself_takes_precedence_over_that_of_the_layer() {
    let pool = pool(["k0", "k1", "k2"]);
    let plain = |session: u64| {
        let mut request = request("one");
        request
            .extensions_mut()
            .insert(KeyChoice::new().affinity(session));
        request
    };
    let without = |session| {
        Harness::new(&layer(&pool))
            .run_request(plain(session), [response(200)])
            .0
    };
    let with = |session| {
        let layer = layer(&pool).affinity(|_| Some(4711));
        Harness::new(&layer)
            .run_request(plain(session), [response(200)])
            .0
    };
    for session in 0..10 {
        assert_eq!(with(session), without(session));
    }
}

#[tokio::test(start_paused = true)]
async fn a_report_says_why_each_key_was_picked() {
    let pool = KeyPool::builder()
        .labeled_key("first", "k0")
        .labeled_key("second", "k1");
    let pool = Arc::new(pool.build().unwrap());
    let mut harness = Harness::new(&layer(&pool));
    let mut picked_by = |request: Request<Body>| {
        let (_, response) = harness.run_request(request, [response(200)]);
        let info = response.body().failover().unwrap().clone();
        let last = info.history().last().unwrap().clone();
        (last.label().unwrap().to_owned(), last.picked_by())
    };
    assert_eq!(
        picked_by(request("one")),
        ("first".into(), PickedBy::Selection)
    );
    let mut pinned = request("one");
    pinned
        .extensions_mut()
        .insert(KeyChoice::new().pin_key("second"));
    assert_eq!(picked_by(pinned), ("second".into(), PickedBy::Pin));
    key(&pool, 0).mark_permanent();
    tokio::time::advance(std::time::Duration::from_secs(91)).await;
    assert_eq!(picked_by(request("one")), ("first".into(), PickedBy::Probe));
}

#[tokio::test(start_paused = true)]
async fn a_request_for_a_key_that_the_pool_lacks_gets_a_502_that_says_what_to_do() {
    let pool = pool(["k0", "k1"]);
    let mut harness = Harness::new(&layer(&pool).wait_for_key(test_support::harness::SECOND));
    for choice in [
        KeyChoice::new().pin_key("k0"),
        KeyChoice::new().pin_group("acme"),
    ] {
        let mut pinned = request("one");
        pinned.extensions_mut().insert(choice);
        let (keys, response) = harness.run_request(pinned, []);
        assert!(keys.is_empty());
        assert_eq!(response.status(), 502);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let message = "no configured key has the label or group that the request requires: add such a key, or \
                       correct the pin";
        assert!(String::from_utf8_lossy(&body).contains(message), "{body:?}");
    }
}

fn only_capped() -> Arc<KeyPool> {
    let pool = KeyPool::builder().key("k0").max_in_flight(1);
    Arc::new(pool.build().unwrap())
}

#[tokio::test(start_paused = true)]
async fn without_waiting_keys_at_their_caps_lead_to_a_429_without_retry_after() {
    let pool = only_capped();
    let mut harness = Harness::new(&layer(&pool));
    let first = harness.send();
    let mut second = harness.send();
    let response = second.response();
    assert_eq!(response.status(), 429);
    assert!(!response.headers().contains_key("retry-after"));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "all configured keys are in use or rate-limited");
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_until_another_one_ends_if_all_keys_are_at_their_caps() {
    let pool = only_capped();
    let layer = layer(&pool).wait_for_key(test_support::harness::SECOND);
    let mut harness = Harness::new(&layer);
    let first = harness.send();
    assert_eq!(harness.next_attempt().key, "k0");
    let mut second = harness.send();
    let mut third = harness.send();
    assert!(second.is_pending() && third.is_pending());
    drop(first);
    assert!(second.is_woken());
    assert!(second.is_pending());
    assert_eq!(harness.next_attempt().key, "k0");
    assert!(third.is_pending());
    assert_eq!(in_flight(&pool), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_at_its_cap_is_not_probed() {
    let pool = only_capped();
    let mut harness = Harness::new(&layer(&pool));
    key(&pool, 0).mark_permanent();
    tokio::time::advance(2 * test_support::harness::SECOND).await;
    let probing = harness.send();
    assert_eq!(harness.next_attempt().key, "k0");
    // The pool could be probed again, but the attempt in flight uses up the cap.
    tokio::time::advance(6 * test_support::harness::SECOND).await;
    let mut second = harness.send();
    assert_eq!(second.response().status(), 502);
    drop(probing);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_learns_of_a_request_that_ends_with_a_key_that_got_its_cap_meanwhile() {
    let pool = KeyPool::builder().selection(Selection::least_in_flight());
    let pool = Arc::new(pool.key("k0").build().unwrap());
    let layer = layer(&pool).wait_for_key(test_support::harness::SECOND);
    let mut harness = Harness::new(&layer);
    let first = harness.send();
    assert_eq!(harness.next_attempt().key, "k0");
    let capped = NewKey::new("k0").max_in_flight(1);
    pool.replace_keys([capped]).unwrap();
    let mut second = harness.send();
    assert!(second.is_pending() && harness.try_next_attempt().is_none());
    drop(first);
    assert!(second.is_woken());
    assert!(second.is_pending());
    assert_eq!(harness.next_attempt().key, "k0");
}
