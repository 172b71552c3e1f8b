//! A caller's body that fails half-way fails the request, as it does without the layer.

use std::error::Error;

use hyper_util::client::legacy;
use test_support::mock::{layer, pool};
use test_support::on_both_protocols;
use test_support::wire::{Fed, Feed, Protocol, Server, all_valid, call, client, read_all, stack};
use tokio::task::JoinHandle;
use tower_key_failover::pool::KeyState;

/// Sends half of the body, and lets the caller get an error.
async fn fail_half_way<T>(
    server: &mut Server,
    feed: Feed,
    caller: JoinHandle<Result<T, legacy::Error>>,
) -> legacy::Error {
    let mut exchange = server.next().await;
    feed.send("hel");
    exchange.read(3).await;
    feed.fail();
    read_all(&mut exchange.body).await.unwrap_err();
    let error = caller.await.unwrap().err().expect("no response was given");
    assert!(server.has_no_other());
    error
}

/// What an error came of in the end.
fn root(mut error: &dyn Error) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

on_both_protocols! {
    async fn a_request_body_that_fails_marks_no_key(protocol: Protocol) {
        let mut server = Server::start(protocol).await;
        let pool = pool(["k0", "k1"]);
        let service = stack(&layer(&pool), protocol);
        let (feed, body) = Fed::of_unknown_length();
        let with = call(&service, server.post(body));
        let with = fail_half_way(&mut server, feed, with).await;
        assert!(all_valid(&pool));

        let (feed, body) = Fed::of_unknown_length();
        let without = call(&client(protocol), server.post(body));
        let without = fail_half_way(&mut server, feed, without).await;
        assert_eq!(with.to_string(), without.to_string());
        assert_eq!(root(&with), root(&without));
    }

    async fn a_request_body_that_fails_in_a_later_attempt_marks_no_key(protocol: Protocol) {
        let mut server = Server::start(protocol).await;
        let pool = pool(["k0", "k1", "k2"]);
        let service = stack(&layer(&pool), protocol);
        let (feed, body) = Fed::of_unknown_length();
        let response = call(&service, server.post(body));

        server.next().await.respond(401);
        fail_half_way(&mut server, feed, response).await;
        assert_eq!(pool.states()[..], [KeyState::Permanent, KeyState::Valid, KeyState::Valid]);
    }
}
