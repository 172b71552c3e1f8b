//! Dropping the future leaves no judged response unmarked, and marks nothing else.

use std::sync::Arc;

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
async fn a_request_that_is_dropped_before_a_response_marks_nothing() {
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
async fn a_mark_is_written_before_the_next_attempt_is_ready() {
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
async fn dropping_a_request_during_a_later_attempt_marks_only_the_refused_key() {
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
async fn a_response_that_is_dropped_during_inspection_is_judged_by_what_arrived() {
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
async fn a_caller_that_leaves_before_the_body_of_a_refusal_arrives_marks_no_key() {
    for (came, state) in [("", KeyState::Valid), ("no", KeyState::Permanent)] {
        let pool = KeyPool::builder().key("k0").group("org");
        let pool = Arc::new(pool.key("k1").group("org").build().unwrap());
        // By status, unless the body says to keep the key.
        let policy =
            TestPolicy::default().map_verdict(|head, _, verdict| match (head.status, verdict) {
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
async fn a_dropped_request_holds_no_permit_of_the_inner_service() {
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
async fn a_dropped_request_releases_every_handle_to_the_pool() {
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

#[cfg(feature = "providers")]
#[tokio::test(start_paused = true)]
async fn a_401_whose_caller_is_gone_does_not_mark_a_key_that_works() {
    use tower_key_failover::policy::Provider;

    for sent in ["", "{"] {
        let pool = pool(["k0", "k1"]);
        let layer = KeyFailoverLayer::new(Provider::openai(), Arc::clone(&pool));
        for status in [200, 401] {
            let (mut service, mut handle) = stack::<_, Body, Source>(&layer);
            assert_ready_ok!(service.poll_ready());
            let mut future = task::spawn(service.call(request("one")));
            assert_pending!(future.poll());
            let (_, reply) = handle.next_request().await.unwrap();
            let (body, remote) = chunked();
            remote.data(sent);
            let response = http::Response::builder().status(status);
            reply.send_response(response.body(body).unwrap());
            match status {
                200 => drop(assert_ready_ok!(future.poll())),
                _ => assert_pending!(future.poll()),
            }
        }
        assert_eq!(pool.states(), [KeyState::Valid; 2], "{sent:?}");
    }
}
