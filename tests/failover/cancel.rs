//! Dropping the future leaves no judged answer unmarked and invents no mark.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use test_support::body::{Source, Step, chunked};
use test_support::mock::{Body, Handle, Stack, layer, pool, request, response, stack};
use test_support::policy::TestPolicy;
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_key_failover::pool::KeyState;
use tower_key_failover::{KeyFailoverLayer, KeyPool, Mark, ProviderPolicy, Verdict};

#[tokio::test]
async fn before_the_first_poll_and_while_an_attempt_is_under_way_nothing_is_marked() {
    for polls in [0, 1] {
        let pool = pool(["k0", "k1"]);
        let (mut service, _handle): (_, Handle) = stack(&layer(&pool));
        assert_ready_ok!(service.poll_ready());
        let mut future = task::spawn(service.call(request("one")));
        for _ in 0..polls {
            assert_pending!(future.poll());
        }
        drop(future);
        assert_eq!(pool.states(), [KeyState::Valid; 2]);
    }
}

#[tokio::test]
async fn while_the_next_attempt_waits_to_be_ready_the_mark_is_written_already() {
    let pool = pool(["k0", "k1"]);
    let (mut service, mut handle) = stack(&layer(&pool));
    handle.allow(1);
    assert_ready_ok!(service.poll_ready());
    let mut future = task::spawn(service.call(request("one")));
    assert_pending!(future.poll());
    let (_, reply) = handle.next_request().await.unwrap();
    reply.send_response(response(401));
    assert_pending!(future.poll());
    drop(future);
    assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);
}

#[tokio::test]
async fn while_a_later_attempt_is_under_way_only_the_refused_key_is_marked() {
    let pool = pool(["k0", "k1"]);
    let (mut service, mut handle) = stack(&layer(&pool));
    assert_ready_ok!(service.poll_ready());
    let mut future = task::spawn(service.call(request("one")));
    assert_pending!(future.poll());
    let (_, reply) = handle.next_request().await.unwrap();
    reply.send_response(response(401));
    assert_pending!(future.poll());
    let _under_way = handle.next_request().await.unwrap();
    drop(future);
    assert_eq!(pool.states(), [KeyState::Permanent, KeyState::Valid]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_still_inspected_is_judged_by_what_came() {
    for (came, state) in [("refuse", KeyState::Permanent), ("ref", KeyState::Valid)] {
        let pool = pool(["k0", "k1"]);
        let (mut service, mut handle): (_, Handle<_, Source>) = stack(&layer(&pool));
        assert_ready_ok!(service.poll_ready());
        let mut future = task::spawn(service.call(request("one")));
        assert_pending!(future.poll());
        let (_, reply) = handle.next_request().await.unwrap();
        let (body, remote) = chunked();
        remote.push(Step::Data(came.into()));
        let response = http::Response::builder().header("x-say", "inspect");
        reply.send_response(response.body(body).unwrap());
        assert_pending!(future.poll());
        drop(future);
        assert_eq!(pool.states(), [state, KeyState::Valid], "{came}");
        assert!(remote.is_dropped());
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_before_anything_came_puts_no_key_out_for_good() {
    let cooldown = KeyState::Temporary {
        retry_after: Duration::from_secs(60),
    };
    for (came, state) in [("", cooldown), ("no", KeyState::Permanent)] {
        let pool = KeyPool::builder().key("k0").group("org");
        let pool = Arc::new(pool.key("k1").group("org").build().unwrap());
        // By status, unless the body says to keep the key.
        let policy =
            TestPolicy::default().map_verdict(|head, verdict| match (head.status, verdict) {
                (StatusCode::UNAUTHORIZED, Verdict::Forward) => {
                    Verdict::Failover(Mark::permanent())
                }
                _ => verdict,
            });
        let layer = KeyFailoverLayer::new(policy, Arc::clone(&pool));
        let (mut service, mut handle): Stack<_, Body, Source> = stack(&layer);
        assert_ready_ok!(service.poll_ready());
        let mut future = task::spawn(service.call(request("one")));
        assert_pending!(future.poll());
        let (_, reply) = handle.next_request().await.unwrap();
        let (body, remote) = chunked();
        remote.push(Step::Data(came.into()));
        let response = http::Response::builder().status(401);
        let response = response.header("x-say", "inspect");
        reply.send_response(response.body(body).unwrap());
        assert_pending!(future.poll());
        drop(future);
        assert_eq!(pool.states(), [state, KeyState::Valid], "{came}");
    }
}

#[tokio::test]
async fn no_permit_of_the_inner_service_is_held() {
    let pool = pool(["k0", "k1"]);
    let inner = ConcurrencyLimit::new(
        service_fn(|_| std::future::pending::<Result<http::Response<Source>, &str>>()),
        1,
    );
    let mut service = layer(&pool).layer(inner);
    for _ in 0..3 {
        let mut future = task::spawn(service.ready().await.unwrap().call(request("one")));
        assert_pending!(future.poll());
    }
}

#[tokio::test]
async fn every_handle_to_the_pool_is_let_go_of() {
    let pool = pool(["k0", "k1"]);
    let layer = layer(&pool);
    let (mut service, mut handle) = stack(&layer);
    assert_ready_ok!(service.poll_ready());
    let mut future = task::spawn(service.call(request("one")));
    assert_pending!(future.poll());
    let (sent, reply) = handle.next_request().await.unwrap();
    reply.send_response(response(401));
    assert_pending!(future.poll());
    let later = handle.next_request().await.unwrap();
    drop((future, sent, later, service, handle, layer));
    assert_eq!(Arc::strong_count(&pool), 1);
}
