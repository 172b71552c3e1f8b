//! A request survives a refused key.

use http_body_util::BodyExt;
use test_support::mock::{key_of, layer, pool, request, response, response_with, stack};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower_key_failover::pool::KeyState;
use tower_key_failover::{Outcome, Replay};

#[tokio::test(start_paused = true)]
async fn a_request_with_a_rate_limited_key_continues_with_the_next_key() {
    let pool = pool(["k0", "k1"]);
    let (mut service, mut handle) = stack(&layer(&pool));
    assert_ready_ok!(service.poll_ready());
    let mut future = task::spawn(service.call(request("hello")));

    assert_pending!(future.poll());
    let (sent, reply) = handle.next_request().await.unwrap();
    assert_eq!(key_of(&sent), "k0");
    assert_eq!(
        sent.into_body().collect().await.unwrap().to_bytes(),
        "hello"
    );
    reply.send_response(response_with(429, &[("retry-after", "5")], "slow down"));

    assert_pending!(future.poll());
    let (sent, reply) = handle.next_request().await.unwrap();
    assert_eq!(key_of(&sent), "k1");
    assert_eq!(
        sent.into_body().collect().await.unwrap().to_bytes(),
        "hello"
    );
    reply.send_response(response(200));

    let response = assert_ready_ok!(future.poll());
    assert_eq!(response.status(), 200);
    let info = response.body().failover().unwrap();
    assert_eq!(
        (info.attempts(), info.outcome(), info.replay()),
        (2, Outcome::Forwarded, Replay::NotNeeded)
    );
    assert!(matches!(
        pool.states()[..],
        [KeyState::Temporary { .. }, KeyState::Valid]
    ));
}
