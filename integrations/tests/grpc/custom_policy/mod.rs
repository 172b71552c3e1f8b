//! A policy of the tests' own.

mod support;

use tower_key_failover::pool::KeyState;

use self::support::{Refuses, Server};
use crate::messages::{say, stream, within};

#[tokio::test]
async fn a_unary_call_survives_a_key_that_is_refused_by_http() {
    within(async {
        let server = Server::start(Refuses::ByHttp(401)).await;
        let mut client = server.client(["k0", "k1"]);
        assert_eq!(client.unary("hello").await.unwrap(), "k1: hello");
        assert_eq!(client.states(), [KeyState::Permanent, KeyState::Valid]);
    })
    .await;
}

#[tokio::test]
async fn a_unary_call_survives_a_key_that_is_refused_by_grpc() {
    within(async {
        let server = Server::start(Refuses::ByGrpc { after: 1 }).await;
        let mut client = server.client(["k0", "k1"]);
        assert_eq!(client.unary("hello").await.unwrap(), "k1: hello");
        assert_eq!(client.states(), [KeyState::Permanent, KeyState::Valid]);
    })
    .await;
}

#[tokio::test]
async fn a_call_gets_resource_exhausted_if_no_key_is_left() {
    within(async {
        let server = Server::start(Refuses::ByHttp(429)).await;
        let mut client = server.client(["k0"]);
        let status = client.unary("hello").await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert!(matches!(client.states()[..], [KeyState::Temporary { .. }]));
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_is_refused_in_the_middle_arrives_completely_with_the_next_key() {
    within(async {
        let server = Server::start(Refuses::ByGrpc { after: 2 }).await;
        let mut client = server.client(["k0", "k1"]);
        let (messages, stream) = stream();
        let heard = tokio::spawn(async move { client.upload(stream).await });
        messages.send(say("one")).unwrap();
        messages.send(say("two")).unwrap();
        server.refused().await;
        messages.send(say("three")).unwrap();
        drop(messages);
        assert_eq!(heard.await.unwrap().unwrap(), "k1: one, two, three");
    })
    .await;
}

#[tokio::test]
async fn a_bidirectional_call_gets_responses_before_its_request_stream_ends() {
    within(async {
        let server = Server::start(Refuses::Nothing).await;
        let mut client = server.client(["k0", "k1"]);
        let (messages, stream) = stream();
        messages.send(say("one")).unwrap();
        let mut answers = client.chat(stream).await.unwrap();
        assert_eq!(answers.message().await.unwrap(), Some(say("k0: one")));
        messages.send(say("two")).unwrap();
        assert_eq!(answers.message().await.unwrap(), Some(say("k0: two")));
        drop(messages);
        assert_eq!(answers.message().await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_bidirectional_call_survives_a_key_that_is_refused_in_the_middle() {
    within(async {
        let server = Server::start(Refuses::ByGrpc { after: 1 }).await;
        let mut client = server.client(["k0", "k1"]);
        let (messages, stream) = stream();
        messages.send(say("one")).unwrap();
        let mut answers = client.chat(stream).await.unwrap();
        assert_eq!(answers.message().await.unwrap(), Some(say("k1: one")));
        messages.send(say("two")).unwrap();
        assert_eq!(answers.message().await.unwrap(), Some(say("k1: two")));
        drop(messages);
        assert_eq!(answers.message().await.unwrap(), None);
    })
    .await;
}
