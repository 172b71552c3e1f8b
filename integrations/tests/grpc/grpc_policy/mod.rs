//! The built-in gRPC policy.

mod support;

use std::time::Duration;

use prost::Message;
use tonic::body::Body;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Streaming};
use tower::Service;
use tower_key_failover::KeyFailover;
use tower_key_failover::policy::Grpc;
use tower_key_failover::pool::KeyState;

use self::support::{Inner, Server};
use crate::messages::{Say, say, stream, within};

async fn texts(mut messages: Streaming<Say>) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(message) = messages.message().await.unwrap() {
        texts.push(message.text);
    }
    texts
}

#[tokio::test]
async fn a_unary_call_fails_over_after_every_kind_of_refusal() {
    within(async {
        let server = Server::start().await;
        let mut client = server.client(["revoked", "denied", "limited", "good"]);
        let response = client.unary(Request::new(say("hello"))).await.unwrap();
        assert_eq!(response, "GOOD: hello");
        assert_eq!(server.asked(), ["revoked", "denied", "limited", "good"]);
        let states = client.states();
        assert_eq!(states[..2], [KeyState::Permanent, KeyState::Valid]);
        let KeyState::Temporary { retry_after } = states[2] else {
            panic!("{states:?}");
        };
        assert!(retry_after <= Duration::from_secs(5) && retry_after > Duration::from_secs(3));
    })
    .await;
}

#[test]
fn the_grpc_service_is_clone_and_send() {
    fn check<S, R>()
    where
        S: Service<R, Future: Send> + Clone + Send + Sync,
    {
    }
    check::<KeyFailover<Inner, Grpc>, http::Request<Body>>();
}

#[tokio::test]
async fn an_http_refusal_of_a_grpc_call_fails_over() {
    within(async {
        let server = Server::start().await;
        let mut client = server.client(["http-401", "http-429", "good"]);
        let response = client.unary(Request::new(say("hello"))).await.unwrap();
        assert_eq!(response, "GOOD: hello");
        assert_eq!(client.states()[0], KeyState::Permanent);
        assert!(matches!(client.states()[1], KeyState::Temporary { .. }));
    })
    .await;
}

#[tokio::test]
async fn metadata_is_sent_with_every_attempt_and_returned_to_the_caller() {
    within(async {
        let server = Server::start().await;
        let mut client = server.client(["revoked", "limited", "good"]);
        let mut request = Request::new(say("hello"));
        let metadata = request.metadata_mut();
        metadata.append("x-note", "one".parse().unwrap());
        metadata.append("x-note", "two".parse().unwrap());
        let binary = [0, 1, 0xfe, 0xff];
        metadata.insert_bin("x-raw-bin", MetadataValue::from_bytes(&binary));
        request.set_timeout(Duration::from_secs(9));
        let response = client.unary_with_metadata(request).await.unwrap();
        let metadata = response.metadata();
        let notes: Vec<_> = metadata.get_all("x-note").iter().collect();
        assert_eq!(notes, ["one", "two"]);
        let raw = metadata.get_bin("x-raw-bin").unwrap();
        assert_eq!(raw.to_bytes().unwrap(), &binary[..]);
        assert_eq!(metadata.get("grpc-timeout").unwrap(), "9000000u");
        assert_eq!(response.get_ref().text, "GOOD: hello");
    })
    .await;
}

#[tokio::test]
async fn a_server_error_is_returned_without_failover() {
    within(async {
        let server = Server::start().await;
        let mut client = server.client(["busy", "good"]);
        let status = client.unary(Request::new(say("hello"))).await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::Unavailable, "overloaded")
        );
        assert_eq!(server.asked(), ["busy"]);
        assert_eq!(client.states(), [KeyState::Valid; 2]);
    })
    .await;
}

#[tokio::test]
async fn a_refused_client_stream_fails_over_and_arrives_completely() {
    within(async {
        for key in ["revoked", "revoked-after"] {
            let server = Server::start().await;
            let mut client = server.client([key, "good"]);
            let (messages, stream) = stream();
            messages.send(say("one")).unwrap();
            messages.send(say("two")).unwrap();
            let heard = tokio::spawn(async move { client.upload(stream).await });
            while server.asked().len() < 2 {
                tokio::task::yield_now().await;
            }
            messages.send(say("three")).unwrap();
            drop(messages);
            assert_eq!(heard.await.unwrap().unwrap(), "GOOD: one, two, three");
        }
    })
    .await;
}

#[tokio::test]
async fn a_server_stream_fails_over_after_a_refusal_in_the_head() {
    within(async {
        let server = Server::start().await;
        let mut client = server.client(["limited", "good"]);
        let responses = texts(client.watch("one two").await.unwrap()).await;
        assert_eq!(responses, ["GOOD: one", "GOOD: two"]);
    })
    .await;
}

#[tokio::test]
async fn a_server_stream_fails_over_after_a_refusal_in_trailers() {
    within(async {
        let server = Server::start().await;
        let patient = Grpc::new().wait_for_first_frame(Duration::from_secs(5));
        let mut client = server.client_with(patient, ["revoked-late", "limited-late", "good"]);
        let responses = texts(client.watch("one two").await.unwrap()).await;
        assert_eq!(responses, ["GOOD: one", "GOOD: two"]);
        assert_eq!(client.states()[0], KeyState::Permanent);
        assert!(matches!(client.states()[1], KeyState::Temporary { .. }));
    })
    .await;
}

/// Trailers are not waited for unless asked to; those that come with their head are seen.
#[tokio::test]
async fn a_refusal_in_trailers_that_arrive_with_the_head_is_seen_without_waiting() {
    within(async {
        let mut seen = 0;
        for _ in 0..50 {
            let server = Server::start().await;
            let mut client = server.client(["revoked-late", "good"]);
            let mut responses = client.watch("one").await.unwrap();
            match responses.message().await {
                Ok(message) => {
                    assert_eq!(message, Some(say("GOOD: one")));
                    assert_eq!(client.states()[0], KeyState::Permanent);
                    seen += 1;
                }
                Err(status) => assert_eq!(status.code(), Code::Unauthenticated),
            }
        }
        assert!(seen > 0);
    })
    .await;
}

#[tokio::test]
async fn a_bidirectional_call_fails_over_and_gets_responses_before_it_ends() {
    within(async {
        for key in ["revoked", "revoked-after", "denied", "limited-after"] {
            let server = Server::start().await;
            let mut client = server.client([key, "good"]);
            let (messages, stream) = stream();
            messages.send(say("one")).unwrap();
            let mut responses = client.chat(stream).await.unwrap();
            assert_eq!(responses.message().await.unwrap(), Some(say("GOOD: one")));
            messages.send(say("two")).unwrap();
            assert_eq!(responses.message().await.unwrap(), Some(say("GOOD: two")));
            drop(messages);
            assert_eq!(responses.message().await.unwrap(), None);
            assert_eq!(server.asked(), [key, "good"]);
        }
    })
    .await;
}

/// The client says nothing before it has the head.
#[tokio::test]
async fn a_bidirectional_call_whose_server_speaks_first_does_not_hang() {
    within(async {
        let server = Server::start().await;
        let mut client = server.client(["revoked", "good"]);
        let (messages, stream) = stream();
        let mut responses = client.chat(stream).await.unwrap();
        messages.send(say("one")).unwrap();
        assert_eq!(responses.message().await.unwrap(), Some(say("GOOD: one")));
    })
    .await;
}

#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(message, optional, tag = "2")]
    retry_info: Option<RetryInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

#[tokio::test]
async fn an_exhausted_grpc_call_says_when_a_key_recovers() {
    within(async {
        let server = Server::start().await;
        let mut client = server.client(["limited", "revoked"]);
        // The second time nobody is asked.
        for _ in 0..2 {
            let status = client.unary(Request::new(say("hello"))).await.unwrap_err();
            assert_eq!(status.code(), Code::ResourceExhausted);
            let message = status.message();
            assert!(message.starts_with("all configured keys are rate-limited (retry after "));
            let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap();
            let millis: i32 = pushback.to_str().unwrap().parse().unwrap();
            assert!((3000..=5000).contains(&millis), "{millis}");
            let details = Details::decode(status.details()).unwrap();
            assert_eq!(details.code, 8);
            let [any] = &details.details[..] else {
                panic!("{details:?}");
            };
            assert_eq!(any.type_url, "type.googleapis.com/google.rpc.RetryInfo");
            let delay = any.retry_info.as_ref().unwrap().retry_delay.unwrap();
            assert!((3..=5).contains(&delay.seconds), "{delay:?}");
        }
        assert_eq!(server.asked(), ["limited", "revoked"]);
    })
    .await;
}

#[tokio::test]
async fn an_exhausted_grpc_call_without_recovering_keys_says_not_to_retry() {
    within(async {
        let server = Server::start().await;
        let mut client = server.client(["revoked", "revoked-too"]);
        let status = client.unary(Request::new(say("hello"))).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(
            status.message(),
            "all configured keys failed authentication"
        );
        assert_eq!(
            status.metadata().get("grpc-retry-pushback-ms").unwrap(),
            "-1"
        );
        let (messages, stream) = stream();
        messages.send(say("one")).unwrap();
        let status = client.chat(stream).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
    })
    .await;
}

#[tokio::test]
async fn a_refusal_that_keeps_the_key_is_returned_if_no_other_key_is_left() {
    within(async {
        let server = Server::start().await;
        let mut client = server.client(["denied"]);
        let status = client.unary(Request::new(say("hello"))).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(status.message(), "not with this key");
        assert_eq!(client.states(), [KeyState::Valid]);
    })
    .await;
}

#[tokio::test]
async fn a_grpc_call_with_its_own_credential_makes_one_attempt() {
    within(async {
        let server = Server::start().await;
        let mut client = server.client(["good"]);
        let mut request = Request::new(say("hello"));
        let own = "Bearer revoked-own".parse().unwrap();
        request.metadata_mut().insert("authorization", own);
        let status = client.unary(request).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(server.asked(), ["revoked-own"]);
        assert_eq!(client.states(), [KeyState::Valid]);
    })
    .await;
}
