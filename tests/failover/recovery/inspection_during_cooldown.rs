//! A response whose caller left proves nothing about a key.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use test_support::body::{Source, chunked};
use test_support::harness::key;
use test_support::mock::{Handle, layer, request, stack};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower_key_failover::pool::{KeyPool, KeyState};

const TIME: Duration = Duration::from_secs(600);

/// A success whose first bytes are still to come.
fn unread() -> Response<Source> {
    let response = Response::builder().header("x-say", "inspect");
    response.body(chunked().0).unwrap()
}

fn pool() -> Arc<KeyPool> {
    let pool = KeyPool::builder().key("k0").key("k1");
    Arc::new(
        pool.probe_after(TIME)
            .without_probe_jitter()
            .without_probe_jitter()
            .build()
            .unwrap(),
    )
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_during_inspection_does_not_return_the_key() {
    let pool = pool();
    key(&pool, 0).mark_permanent();
    advance(TIME).await;
    let (mut service, mut handle): (_, Handle<_, Source>) = stack(&layer(&pool));
    for _ in 0..2 {
        assert_ready_ok!(service.poll_ready());
        let mut future = task::spawn(service.call(request("one")));
        assert_pending!(future.poll());
        let (sent, reply) = handle.next_request().await.unwrap();
        assert_eq!(
            test_support::mock::key_of(&sent),
            "k0",
            "it was given back at once"
        );
        reply.send_response(unread());
        assert_pending!(future.poll());
        drop(future);
        assert_eq!(pool.states()[0], KeyState::Permanent);
    }
}
